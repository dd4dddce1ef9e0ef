-- Which tensors of two models go together, and how alike the models are.

-- A tensor of a model as one number. Joined by it, pairs of tensors are found through the pair of models; by slot and
-- model, the planner may first pair every model with every other.
CREATE OR REPLACE MACRO tensor_id(model, kind, slot) AS hash(model, kind, slot);

-- Whether the tensors of a model stand in its own order. Files that sort by name, or hold no order, tell no index.
CREATE OR REPLACE MACRO has_order(layer_index) AS layer_index IS NOT NULL;

-- Whether equal values are evidence of one origin: zeros, ones, and fresh biases of two values are equal everywhere.
CREATE OR REPLACE MACRO is_evidence(value_count, std, histogram) AS
    value_count > 2 AND std > 0 AND coalesce(len(histogram.count) > 2, true);

-- What tells that tensors hold the same values however they are stored: the values at fixed places of the canonical
-- layout. NULL for fewer than three distinct values, as they may be equal by chance.
CREATE OR REPLACE MACRO sample_print(canonical_shape, sample) AS
    CASE WHEN list_unique(sample.value) >= 3 THEN hash(canonical_shape, sample.value) END;

-- How alike every two of some models are: the SQL form of `similarity`, for few models. wexport itself aligns models by
-- all evidence; this form pairs tensors by slot, then by order among what is left, then by content. close: the worst
-- tensor's relative L2 up to which models are close.
CREATE OR REPLACE MACRO similarities(pattern, min_coverage, close) AS TABLE
WITH trained AS MATERIALIZED (
    SELECT
        tensor_id(model, kind, slot) AS id, model, kind, slot, role, canonical_shape AS shape,
        tensor_index, has_order(layer_index) AS ordered, value_count, content_hash, l2_norm, dtype,
        shape AS stored_shape, run, nan_count + inf_count > 0 AS lost, is_statistic(role) AS statistic,
        is_evidence(value_count, std, histogram) AS evidence, sample_print(canonical_shape, sample) AS content
    FROM weights
    -- Counters and the vectors of a power iteration say nothing of what a model has learnt.
    WHERE asked_for(model, pattern) AND role NOT IN ('count', 'vector_u')
),
sizes AS (
    SELECT
        model, coalesce(sum(value_count) FILTER (NOT statistic), 0) AS parameters, count(*) AS tensors,
        count(*) FILTER (len(shape) > 1 AND NOT statistic) AS matrices, any_value(run) AS run,
        CASE WHEN count(*) OVER () > 50 THEN error('similarity in SQL compares at most 50 models: choose by model') END
    FROM trained GROUP BY model
),
pairs AS (
    SELECT
        a.model AS model_a, b.model AS model_b, greatest(a.parameters, b.parameters) AS parameters,
        greatest(a.tensors, b.tensors) AS most_tensors, greatest(a.matrices, b.matrices) AS most_matrices,
        coalesce(a.run = b.run, false) AS one_run
    FROM sizes AS a JOIN sizes AS b ON a.model < b.model
),
by_slot AS (
    SELECT model_a, model_b, a.id AS id_a, b.id AS id_b, 'slot' AS match_method
    FROM pairs
    JOIN trained AS a ON a.model = model_a
    JOIN trained AS b ON b.id = tensor_id(model_b, a.kind, a.slot)
    WHERE coalesce(b.shape = a.shape, false)
),
rest AS (
    SELECT
        *, row_number() OVER (PARTITION BY model_a, model_b, side, role, shape ORDER BY tensor_index, slot) AS number,
        count(*) OVER (PARTITION BY model_a, model_b, side, role, shape) AS number_of,
        bool_and(ordered) OVER (PARTITION BY model_a, model_b, side, role, shape) AS in_order
    FROM (
        SELECT pairs.*, 'a' AS side, trained.*
        FROM pairs JOIN trained ON trained.model = model_a
        ANTI JOIN by_slot ON by_slot.id_a = trained.id AND by_slot.model_b = pairs.model_b
        UNION ALL
        SELECT pairs.*, 'b', trained.*
        FROM pairs JOIN trained ON trained.model = model_b
        ANTI JOIN by_slot ON by_slot.id_b = trained.id AND by_slot.model_a = pairs.model_a
    )
),
by_order AS (
    SELECT a.model_a, a.model_b, a.id AS id_a, b.id AS id_b, 'order' AS match_method
    FROM rest AS a
    JOIN rest AS b ON b.model_a = a.model_a AND b.model_b = a.model_b AND b.role = a.role AND b.shape = a.shape
        AND b.number = a.number AND b.number_of = a.number_of
    WHERE a.side = 'a' AND b.side = 'b' AND a.role <> 'unknown'
        AND (a.number_of = 1 OR a.in_order AND b.in_order)
),
once AS (
    -- Contents that a model holds in one tensor only.
    SELECT any_value(id) AS id FROM trained WHERE content IS NOT NULL GROUP BY model, content HAVING count(*) = 1
),
by_content AS (
    SELECT a.model_a, a.model_b, a.id AS id_a, b.id AS id_b, 'content' AS match_method
    FROM rest AS a
    JOIN rest AS b ON b.model_a = a.model_a AND b.model_b = a.model_b AND b.content = a.content
    -- DuckDB 1.3 knows no NOT EXISTS of two conditions here.
    ANTI JOIN by_order AS a_paired ON a_paired.id_a = a.id AND a_paired.model_b = a.model_b
    ANTI JOIN by_order AS b_paired ON b_paired.id_b = b.id AND b_paired.model_a = a.model_a
    WHERE a.side = 'a' AND b.side = 'b' AND (a.role = b.role OR 'unknown' IN (a.role, b.role))
        AND a.id IN (FROM once) AND b.id IN (FROM once)
),
matched AS (
    FROM by_slot
    UNION ALL
    FROM by_order
    UNION ALL
    FROM by_content
),
samples AS (
    SELECT tensor_id(model, kind, slot) AS id, sample.value AS value, abs_max
    FROM weights WHERE asked_for(model, pattern) AND role NOT IN ('count', 'vector_u')
),
scaled AS (
    SELECT
        id_a, id_b, x AS one, y AS other, CASE WHEN isfinite(y - x) THEN x / x_scale END AS x,
        CASE WHEN isfinite(y - x) THEN y / y_scale - x / x_scale END AS d,
        greatest(x_scale, y_scale) AS scale, (y - x) / greatest(x_scale, y_scale) AS change
    FROM (
        SELECT
            id_a, id_b, coalesce(nullif(a.abs_max, 0), 1) AS x_scale, coalesce(nullif(b.abs_max, 0), 1) AS y_scale,
            unnest(a.value) AS x, unnest(b.value) AS y
        FROM matched JOIN samples AS a ON a.id = id_a JOIN samples AS b ON b.id = id_b
        WHERE len(a.value) = len(b.value)
    )
),
summed AS (
    SELECT
        id_a, id_b, any_value(scale) AS scale, sum(change * change) FILTER (isfinite(change)) AS squares,
        -- Values that repeat, as where all units are equal, are one draw of chance.
        corr(x, x + d) AS r, count(*) AS kept, least(count(DISTINCT one), count(DISTINCT other)) AS draws,
        {
            'n': count(d), 'x2': sum(x * x), 'y2': sum((x + d) * (x + d)), 'xy': sum(x * (x + d)), 'xd': sum(x * d),
            'd2': sum(d * d),
            'x4': sum(x * x * x * x), 'x3d': sum(x * x * x * d), 'x2d2': sum(x * x * d * d),
            'xd3': sum(x * d * d * d), 'd4': sum(d * d * d * d), 'd_max': 0
        } AS sums
    FROM scaled GROUP BY id_a, id_b
),
measured AS (
    SELECT
        model_a, model_b, match_method, a.slot, a.tensor_index, a.statistic, a.evidence, a.value_count AS size,
        a.dtype <> b.dtype AS cast_,
        -- More than nearest values give; whatever lies between is another model.
        CASE WHEN 'bfloat16' IN (a.dtype, b.dtype) THEN 0.003 WHEN 'float16' IN (a.dtype, b.dtype) THEN 0.0005
            ELSE 0.01 END AS rounding,
        a.dtype <> b.dtype OR a.stored_shape <> b.stored_shape AS laid_out, len(a.shape) > 1 AS matrix,
        coalesce(a.content_hash = b.content_hash, false) AS same,
        -- What is left of a tensor with NaN or infinities is not the tensor.
        NOT same AND (a.lost OR b.lost) AS broken, kept, draws, a.l2_norm = 0 OR b.l2_norm = 0 AS either_zero,
        coalesce(a.l2_norm, 0) ** 2 / 2 + coalesce(b.l2_norm, 0) ** 2 / 2 AS square,
        greatest(a.l2_norm, b.l2_norm) AS longest,
        -- A tensor of zeros is far from one that has values.
        CASE WHEN (a.l2_norm = 0) <> (b.l2_norm = 0) THEN 0
            WHEN a.content_hash = b.content_hash AND a.l2_norm <> 0 THEN 1
            ELSE 1 - distance END AS cosine,
        CASE WHEN a.content_hash = b.content_hash OR distance IS NULL OR (a.l2_norm = 0) <> (b.l2_norm = 0) THEN 0
            ELSE coalesce(cosine_se(sums, a.value_count, distance, gap), 0) END AS standard_error,
        CASE WHEN a.content_hash = b.content_hash THEN 0
            ELSE squares / nullif(sums.n, 0) * scale ** 2 END AS mean_square,
        CASE WHEN a.content_hash = b.content_hash THEN 1 WHEN r IS NOT NULL AND isfinite(r) THEN r END AS r
    FROM matched
    JOIN trained AS a ON a.id = id_a
    JOIN trained AS b ON b.id = id_b
    LEFT JOIN (
        SELECT *, cosine_distance(sums, gap) AS distance FROM (SELECT *, length_gap(sums) AS gap FROM summed)
    ) USING (id_a, id_b)
),
changes AS (
    SELECT
        *,
        CASE WHEN broken THEN 'infinity'::DOUBLE WHEN same OR longest = 0 THEN 0 ELSE coalesce(sqrt(mean_square * size) / longest, 'infinity'::DOUBLE) END AS apart,
        same OR NOT broken AND laid_out AND mean_square = 0 AS equal
    FROM measured
    WHERE mean_square IS NOT NULL OR broken
),
counted AS (
    SELECT
        *, NOT equal AND cast_ AND apart <= rounding AS rounded, NOT equal AND NOT rounded AS changed,
        matrix AND kept >= 3 AND NOT statistic AND r IS NOT NULL AND NOT either_zero AS tells
    FROM changes
),
-- What is left on either side.
alone AS (
    SELECT model_a, model_b, list(slot ORDER BY side, tensor_index, slot)[:3] AS slots, count(*) AS lacking
    FROM rest
    ANTI JOIN (
        SELECT model_a, model_b, id_a AS id FROM by_order UNION ALL SELECT model_a, model_b, id_b FROM by_order
        UNION ALL SELECT model_a, model_b, id_a FROM by_content UNION ALL SELECT model_a, model_b, id_b FROM by_content
    ) AS paired USING (model_a, model_b, id)
    GROUP BY model_a, model_b
),
totals AS (
    SELECT
        model_a, model_b,
        sum(size * cosine) FILTER (NOT statistic)
            / nullif(sum(size) FILTER (cosine IS NOT NULL AND NOT statistic), 0) AS similarity,
        sqrt(sum((size * standard_error) ** 2) FILTER (cosine IS NOT NULL AND NOT statistic))
            / nullif(sum(size) FILTER (cosine IS NOT NULL AND NOT statistic), 0) AS standard_error,
        sum(size * r) FILTER (tells) / sum(size) FILTER (tells) AS correlation,
        CASE WHEN count(*) FILTER (tells) > 0 THEN
            least(1, 0.15 + 4.5 * sqrt(sum(size::DOUBLE * size / draws) FILTER (tells)) / sum(size) FILTER (tells))
        END AS null_similarity,
        sqrt(sum(size * mean_square) FILTER (NOT statistic) / nullif(sum(square) FILTER (NOT statistic), 0))
            AS relative_l2,
        sum(size) FILTER (NOT statistic) AS matched_size, count(*) FILTER (NOT statistic) AS tensors,
        count(*) AS all_tensors, max(apart) AS worst_relative_l2,
        arg_max(slot, (apart, -tensor_index, slot)) AS worst_slot,
        count(*) FILTER (changed) AS changed, count(*) FILTER (rounded) AS rounded,
        coalesce(list(slot ORDER BY tensor_index, slot) FILTER (changed), [])[:3] AS differs,
        coalesce(sum(size) FILTER (NOT changed AND evidence AND NOT statistic), 0) AS equal_size,
        count(*) FILTER (NOT changed AND evidence AND matrix AND NOT statistic) AS equal_matrices,
        count(*) FILTER (NOT changed AND matrix AND NOT statistic) AS same_matrices,
        string_agg(DISTINCT match_method, ', ' ORDER BY match_method DESC) AS match_method,
        min(CASE match_method WHEN 'slot' THEN 0.999 WHEN 'order' THEN 0.982 ELSE 1 END::DOUBLE) AS confidence
    FROM counted
    GROUP BY model_a, model_b
),
judged AS (
    SELECT
        * EXCLUDE (tensors, changed, differs, lacking), coalesce(lacking, 0) AS lacking, coalesce(matched_size, 0) / parameters AS coverage,
        coalesce(tensors, 0) AS tensors, coalesce(changed, 0) AS changed, coalesce(differs, []) AS differs,
        coalesce(matched_size, 0) / parameters >= min_coverage AND similarity IS NOT NULL AS comparable,
        coalesce(all_tensors >= most_tensors AND matched_size >= parameters, false) AS whole
    FROM pairs LEFT JOIN totals USING (model_a, model_b) LEFT JOIN alone USING (model_a, model_b)
)
SELECT
    model_a, model_b,
    CASE
        WHEN whole AND changed = 0 AND rounded = 0 THEN 'identical'
        WHEN whole AND changed = 0 THEN 'rounded'
        WHEN equal_size >= 0.5 * parameters OR (2 * changed <= all_tensors AND equal_size >= 0.1 * parameters)
            OR (equal_matrices >= 1 AND equal_matrices >= most_matrices - same_matrices) THEN 'same_but'
        WHEN NOT comparable THEN 'not_comparable'
        WHEN one_run THEN 'same_run'
        WHEN whole AND worst_relative_l2 <= close THEN 'close'
        WHEN abs(correlation) > null_similarity THEN 'related'
        WHEN correlation IS NULL THEN 'not_comparable'
        ELSE 'strangers' END AS relation,
    CASE WHEN comparable THEN similarity END AS similarity,
    CASE WHEN comparable THEN standard_error END AS standard_error, correlation, null_similarity,
    CASE WHEN comparable THEN relative_l2 END AS relative_l2, 
    CASE WHEN isfinite(worst_relative_l2) THEN worst_relative_l2 END AS worst_relative_l2, worst_slot, changed,
    lacking, CASE WHEN relation = 'same_but' THEN (differs || coalesce(slots, []))[:3] ELSE differs END AS differs, coverage,
    tensors, match_method, confidence,
    CASE
        WHEN relation = 'not_comparable' AND comparable THEN 'no matrix whose values tell anything'
        WHEN comparable THEN NULL
        WHEN coverage = 0 THEN 'no tensor in common, or no samples of it'
        WHEN relation = 'identical' THEN 'equal, and nothing but zeros'
        WHEN coverage < min_coverage THEN floor(coverage * 100 + 0.5)::BIGINT || ' % of the parameters match'
        ELSE 'nothing but zeros' END AS reason
FROM judged;
