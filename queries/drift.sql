-- drift: How far did each tensor move, from checkpoint to checkpoint or from a reference model?
--
-- Parameters
--   model       VARCHAR = '*'          which models are compared with an earlier one: a name, or a pattern with * and ?
--   slot        VARCHAR = '*'          which slots: a name, or a pattern with * and ?
--   reference   VARCHAR = ''           compare with this model; '' compares checkpoints along their run
--   against     VARCHAR = 'previous'   along a run: 'previous' checkpoint, or the 'first'
--   histograms  BIGINT = 1000          for how many pairs, those that moved most, histograms are compared as well
--   js_level    DOUBLE = 0.2           js_distance is told only where js_expected is below this
-- Columns
--   model                              the model
--   slot                               the tensor
--   against                            the model it is compared with
--   relative_l2 [fraction]             |w - w0| / |w0|: how far it moved, by the length of what it was
--   relative_l2_se [fraction]          its standard error; 0 where all values were compared
--   cosine                             cosine of the two; NULL for a vector of zeros
--   cosine_se                          its standard error; NULL where one is less than a millionth of the other in length
--   changed_fraction [fraction]        share of values that are not equal
--   changed_fraction_se [fraction]     its standard error
--   rms_change [weight]                root mean square of w - w0: defined where w0 is zero, too
--   wasserstein [standard deviations]  Wasserstein-1 distance of the two histograms by the std of w0
--   js_distance                        Jensen-Shannon distance of the histograms (root, base 2: 0 to 1)
--   js_expected                        what it would be, about, for two samples of one distribution of as many values
--   basis                              'same hash', 'all values' or 'sample'
--   compared [values]                  pairs of values that the figures rest on
--   nonfinite [values]                 pairs left out because one is NaN or infinite
--   match_method                       'slot', 'name', 'order' or 'content'; NULL where nothing was compared
--   reason                             why there is no figure, or what to mind
-- How to read it
--   What moved most comes first, tensors that could not be compared last. Weights that moved little have a relative_l2
--   of a few per cent; two independent trainings have one near 1.4 and a cosine near 0. Moving statistics move by
--   themselves whenever data passes. Where the table keeps a sample of a tensor, a standard error stands beside the
--   figure: look at differences of more than 3 of them. It takes the sample as simple random (it is stratified, so
--   that is careful) and counts the largest contribution twice. The error of a share is that of (k + 1) / (n + 2), so
--   that it is not 0 where no value of the sample changed. Wasserstein and Jensen-Shannon compare distributions, not
--   values: a permutation leaves them 0. They come from bins of 8 to an octave, so smaller shifts may not show.
--   Jensen-Shannon of few values is mostly chance, which js_expected tells. For a table without checkpoints, name a
--   reference.
-- What it does not prove
--   That a model became better or worse, or behaves differently: weights can move far and compute the same, for example
--   when hidden units change places. A tensor of which a few values changed may show no change in its sample.
WITH listed AS MATERIALIZED (
    -- No lists here: this is joined in every direction.
    SELECT
        tensor_id(model, kind, slot) AS id, model, kind, slot, role, canonical_shape AS shape,
        tensor_index, has_order(layer_index) AS ordered, run, step, value_count, content_hash, std, l2_norm
    FROM weights  -- of all slots: where models are aligned, another name may be the one
),
models AS (
    SELECT model, any_value(run) AS run, any_value(step) AS step FROM listed GROUP BY model
),
firsts AS (
    -- Of several models at one step the first by name is what the next step is compared with.
    SELECT
        run, step, first_value(min(model)) OVER along AS first_model, lag(min(model)) OVER along AS previous_model
    FROM models WHERE run IS NOT NULL GROUP BY run, step
    WINDOW along AS (PARTITION BY run ORDER BY step)
),
steps AS (
    SELECT
        model, run,
        CASE WHEN run IS NULL THEN NULL
            WHEN coalesce(getvariable('against'), 'previous') = 'first' THEN nullif(first_model, model)
            WHEN coalesce(getvariable('against'), 'previous') = 'previous' THEN previous_model
            ELSE error('against is ''' || coalesce(getvariable('against'), 'previous')
                || '''; it is previous or first') END AS against,
        row_number() OVER (PARTITION BY run ORDER BY step, model) AS place_in_run
    FROM models LEFT JOIN firsts USING (run, step)
    WHERE coalesce(getvariable('reference'), '') = ''
    UNION ALL
    SELECT model, NULL, coalesce(getvariable('reference'), ''), NULL
    FROM models
    WHERE coalesce(getvariable('reference'), '') NOT IN ('', model)
),
wanted AS (
    FROM steps WHERE asked_for(model, coalesce(getvariable('model'), '*'))
),
-- wexport itself aligns models by all evidence instead: with a reference, and where a run changes its architecture.
by_slot AS (
    SELECT new.id, old.id AS old_id, new.model, wanted.against, 'slot' AS match_method
    FROM wanted
    JOIN listed AS new ON new.model = wanted.model
    JOIN listed AS old ON old.id = tensor_id(wanted.against, new.kind, new.slot)
    -- In this form it is not a condition to join by: there are few shapes, and many tensors of each.
    WHERE coalesce(old.shape = new.shape, false) AND (asked_for(new.slot, coalesce(getvariable('slot'), '*'))
        OR wanted.run IS NULL)  -- of what is left the rest may be
),
rest AS (
    -- What has no partner of its slot, in the model and in the reference; counted and numbered by role and shape.
    SELECT
        *,
        row_number() OVER (PARTITION BY pair, side, role, shape ORDER BY tensor_index, slot) AS number,
        count(*) OVER (PARTITION BY pair, side, role, shape) AS number_of,
        bool_and(ordered) OVER (PARTITION BY pair, side, role, shape) AS in_order
    FROM (
        SELECT wanted.model AS pair, 'new' AS side, listed.*
        FROM wanted JOIN listed ON listed.model = wanted.model
        ANTI JOIN by_slot ON by_slot.id = listed.id
        WHERE wanted.run IS NULL
        UNION ALL
        SELECT wanted.model, 'old', listed.*
        FROM wanted JOIN listed ON listed.model = wanted.against
        ANTI JOIN by_slot ON by_slot.model = wanted.model AND by_slot.old_id = listed.id
        WHERE wanted.run IS NULL
    )
),
matched AS MATERIALIZED (
    FROM by_slot
    UNION ALL
    SELECT new.id, old.id, new.model, old.model, 'order'
    FROM rest AS new
    JOIN rest AS old ON old.pair = new.pair AND old.role = new.role AND old.shape = new.shape
        AND old.number = new.number AND old.number_of = new.number_of
    WHERE new.side = 'new' AND old.side = 'old' AND new.role <> 'unknown'
        -- Where a file has no order, only one can be another.
        AND (new.number_of = 1 OR new.in_order AND old.in_order)
),
-- wexport itself works out from here to `summed` in NumPy, in a fraction of the time.
newer AS (
    SELECT matched.id, old_id, sample.value AS new, abs_max AS new_max
    FROM weights JOIN matched ON matched.id = tensor_id(weights.model, kind, slot)
),
older AS (
    SELECT tensor_id(model, kind, slot) AS old_id, sample.value AS old, abs_max AS old_max
    FROM weights
),
lined_up AS (
    -- Lists of unequal length are of other places. Told by CASE: as a condition it might decide the order of joins.
    -- Values are divided by the largest magnitude, so that no power overflows.
    SELECT
        id, coalesce(nullif(greatest(old_max, new_max), 0), 1) AS scale,
        unnest(CASE WHEN len(old) = len(new) THEN old END) / scale AS old,
        unnest(CASE WHEN len(old) = len(new) THEN new END) / scale AS new
    FROM newer JOIN older USING (old_id)
),
differences AS (
    -- Pairs that are not finite become NULL and are left out.
    SELECT
        id, scale, new - old AS d, CASE WHEN isfinite(new - old) THEN old END AS x,
        CASE WHEN isfinite(new - old) THEN new END AS y
    FROM lined_up
),
summed AS (
    SELECT
        id, any_value(scale) AS scale, count(*) AS kept, count(*) FILTER (d <> 0) AS changed,
        {
            'n': count(x), 'x2': sum(x * x), 'y2': sum(y * y), 'xy': sum(x * y), 'xd': sum(x * d), 'd2': sum(d * d),
            'x4': sum(x * x * x * x), 'x3d': sum(x * x * x * d), 'x2d2': sum(x * x * d * d),
            'xd3': sum(x * d * d * d), 'd4': sum(d * d * d * d), 'd_max': max(abs(d))
        } AS sums
    FROM (SELECT id, scale, x, y, CASE WHEN x IS NOT NULL THEN d END AS d FROM differences)
    GROUP BY id
),
paired AS (
    SELECT
        new.id, matched.old_id, new.model, new.slot, old.slot AS old_slot, new.tensor_index, matched.against,
        matched.match_method, new.value_count, old.std AS old_std, sums, kept, changed,
        coalesce(scale, 1) AS scale,
        coalesce(new.content_hash = old.content_hash, false) AS same,
        old.l2_norm = 0 AS was_zero, old.l2_norm = 0 OR new.l2_norm = 0 AS either_zero,
        coalesce(kept = new.value_count, false) AS whole
    FROM matched
    JOIN listed AS new ON new.id = matched.id
    JOIN listed AS old ON old.id = matched.old_id
    LEFT JOIN summed ON summed.id = matched.id
    WHERE asked_for(new.slot, coalesce(getvariable('slot'), '*'))
),
-- A sample in which nothing changed says how rare changes are, not how large.
measured AS MATERIALIZED (
    SELECT
        *, NOT same AND NOT whole AND changed = 0 AS unseen,
        CASE WHEN same AND NOT was_zero THEN 0
            WHEN changed > 0 OR whole THEN sqrt(sums.d2) / nullif(sqrt(sums.x2), 0) END AS relative_l2,
        CASE WHEN same AND NOT either_zero THEN 1
            WHEN changed > 0 OR whole THEN 1 - distance END AS cosine,
        CASE WHEN same THEN 0 ELSE changed / nullif(sums.n, 0) END AS changed_fraction,
        CASE WHEN same THEN 0
            WHEN changed > 0 OR whole THEN scale * sqrt(sums.d2 / nullif(sums.n, 0)) END AS rms_change,
        -- Not where they are chosen: within a CASE, DuckDB works out anew what stands there several times.
        relative_l2_se(sums, value_count) AS relative_l2_error, cosine_se(sums, value_count, distance, gap) AS cosine_error
    FROM (SELECT *, cosine_distance(sums, gap) AS distance FROM (SELECT *, length_gap(sums) AS gap FROM paired))
),
moved_most AS MATERIALIZED (
    SELECT id, old_id
    FROM measured
    WHERE NOT same
    ORDER BY relative_l2 DESC NULLS LAST, id
    LIMIT coalesce(getvariable('histograms'), 1000)
),
bins AS (
    SELECT id, lower, upper, sum(bin * is_new) AS new, sum(bin * (1 - is_new)) AS old
    FROM (
        SELECT
            id, is_new, unnest(histogram.lower) AS lower, unnest(histogram.upper) AS upper,
            unnest(histogram.count) AS bin
        FROM (
            SELECT id, id AS side, 1 AS is_new FROM moved_most
            UNION ALL
            SELECT id, old_id, 0 FROM moved_most
        ) JOIN weights ON tensor_id(model, kind, slot) = side
    )
    GROUP BY id, lower, upper
),
shares AS (
    SELECT
        *, new / nullif(sum(new) OVER whole, 0) AS p, old / nullif(sum(old) OVER whole, 0) AS q,
        sum(new) OVER whole AS new_total, sum(old) OVER whole AS old_total
    FROM bins
    WINDOW whole AS (PARTITION BY id)
),
cumulated AS (
    -- The difference of the two distribution functions at either edge of a bin, and how far the next bin is.
    SELECT
        *, sum(p - q) OVER (line ROWS UNBOUNDED PRECEDING) AS after, after - (p - q) AS before,
        lead(lower) OVER line - upper AS gap
    FROM shares
    WINDOW line AS (PARTITION BY id ORDER BY lower, upper)
),
distributions AS (
    SELECT
        id,
        -- Within a bin the difference is a straight line, which may pass through 0; between bins it is constant.
        sum((upper - lower) * CASE
                WHEN before * after >= 0 THEN abs(before + after) / 2
                ELSE (before * before + after * after) / (2 * (abs(before) + abs(after))) END
            + abs(after) * coalesce(gap, 0)) AS wasserstein,
        sum(CASE WHEN p > 0 THEN p * log2(2 * p / (p + q)) ELSE 0 END
            + CASE WHEN q > 0 THEN q * log2(2 * q / (p + q)) ELSE 0 END) / 2 AS js_divergence,
        -- If the t values of a bin had fallen to the two sides by the toss of a coin, t (1 - entropy) would be
        -- 1/(2 ln 2) on average where t is large, and 1 for t = 1 and 2; 0.56 / t is within 0.03 of it between.
        (sum(least(1, 1 / (2 * ln(2)) + 0.56 / (new + old))) - 1 / (2 * ln(2)))
            * any_value(1 / new_total + 1 / old_total) / 4 AS js_expected_divergence
    FROM cumulated
    WHERE new_total > 0 AND old_total > 0
    GROUP BY id
),
compared AS (
    SELECT
        model, slot, against, relative_l2,
        CASE WHEN relative_l2 IS NULL THEN NULL WHEN same OR whole THEN 0
            WHEN isfinite(relative_l2_error) THEN relative_l2_error END AS relative_l2_se,
        cosine,
        CASE WHEN cosine IS NULL THEN NULL WHEN same OR whole THEN 0
            WHEN least(sums.x2, sums.y2) >= 1e-12 * greatest(sums.x2, sums.y2) AND isfinite(cosine_error)
                THEN cosine_error END AS cosine_se,
        changed_fraction,
        CASE WHEN changed_fraction IS NULL THEN NULL WHEN same OR whole THEN 0
            ELSE sqrt((1 - sums.n / value_count) * (changed + 1) * (sums.n - changed + 1) / sums.n)
                / (sums.n + 2) END AS changed_fraction_se,
        rms_change,
        CASE WHEN same THEN 0 ELSE wasserstein END / nullif(CASE WHEN old_std > 0 THEN old_std END, 0) AS wasserstein,
        CASE WHEN same THEN 0
            WHEN sqrt(js_expected_divergence) < coalesce(getvariable('js_level'), 0.2)
                THEN sqrt(not_negative(js_divergence)) END AS js_distance,
        sqrt(js_expected_divergence) AS js_expected,
        CASE WHEN same THEN 'same hash' WHEN whole THEN 'all values' WHEN kept > 0 THEN 'sample' END AS basis,
        CASE WHEN same THEN value_count ELSE sums.n END AS compared,
        CASE WHEN NOT same THEN kept - sums.n END AS nonfinite,
        match_method,
        CASE
            WHEN same THEN NULL
            WHEN kept IS NULL THEN 'no samples of the same places in the table'
            WHEN sums.n = 0 THEN 'no pair of finite values'
            WHEN unseen THEN 'changed, but in no value of the sample'
            WHEN was_zero THEN 'was all zero: see rms_change'
            WHEN old_slot <> slot THEN 'matched with ' || old_slot END AS reason,
        tensor_index
    FROM measured
    LEFT JOIN distributions USING (id)
),
alone AS (
    SELECT wanted.model, listed.slot, wanted.against, 'not in ' || wanted.against || ' in this shape' AS reason,
        tensor_index
    FROM wanted JOIN listed ON listed.model = wanted.model
    ANTI JOIN matched ON matched.id = listed.id
    WHERE wanted.against IN (SELECT model FROM models)
        AND asked_for(listed.slot, coalesce(getvariable('slot'), '*'))
    UNION ALL
    SELECT wanted.model, listed.slot, wanted.against, 'only in ' || wanted.against || ' in this shape', tensor_index
    FROM wanted JOIN listed ON listed.model = wanted.against
    ANTI JOIN matched ON matched.model = wanted.model AND matched.old_id = listed.id
    WHERE asked_for(listed.slot, coalesce(getvariable('slot'), '*'))
    UNION ALL
    SELECT model, NULL, against, CASE
            WHEN against IS NULL THEN 'in no run: name a reference'
            ELSE error('there is no model ' || against || '; the query models lists them') END, NULL
    FROM wanted
    WHERE against NOT IN (SELECT model FROM models) OR against IS NULL AND run IS NULL
)
SELECT * EXCLUDE (tensor_index)
FROM (FROM compared UNION ALL BY NAME FROM alone)
ORDER BY relative_l2 DESC NULLS LAST, rms_change DESC NULLS LAST, reason, model, tensor_index, slot;
