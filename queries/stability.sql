-- stability: Which models diverged, and which tensors explode, have outliers or jump?
--
-- Parameters
--   model              VARCHAR = '*'  which models: a name, or a pattern with * and ?
--   slot               VARCHAR = '*'  which tensors: a slot, or a pattern with * and ?
--   largest_value      DOUBLE = 1e3   weights are larger than this in no sound model
--   largest_scale      DOUBLE = 4     nor is the root mean square of a kernel
--   diverged_scale     DOUBLE = 100   nor that of several tensors of a model whose training did not diverge
--   largest_statistic  DOUBLE = 1e6   nor moving statistics and biases than this
--   outlier_deviations DOUBLE = 60    a value this many standard deviations from 0 is an outlier
--   jump_factor        DOUBLE = 5     a jump is a change this many times that of the two steps before
--   jump_change        DOUBLE = 0.1   and at least this large beside the norm of the tensor
-- Columns
--   severity         error, warning or info
--   finding          diverged, exploding, jump, model_jump, outliers
--   model            the model; for a jump the checkpoint after it
--   slot             the tensor; NULL where the whole model diverged or jumps
--   seen             what was found
--   value            the figure: largest value, number of standard deviations, or relative L2 change per step
--   threshold        where the finding begins
--   advice           what to do
-- How to read it
--   A model diverged when several of its tensors, or a half of its kernels, are of a size that no sound weights have, or
--   hold values that are not finite. Only what is known to be a weight or a moving statistic can explode: tables of
--   frequencies, counters and histograms of an observer may hold any number, and a bias that of what is predicted.
--   The change from one checkpoint of a run to the next is the L2 norm of the difference over the norm before, per
--   step,
--   from at most 256 values of the sample. It usually shrinks along a run, or follows the learning rate. A tensor jumps
--   when its change grows by a factor that neither its own two steps before, nor the other tensors at that step, nor
--   the usual growth in this run explain;
--   where most tensors grow so together, the model jumps: a learning rate that was raised, or training that diverged.
-- What it does not prove
--   A jump is not a fault by itself: a layer may have been unfrozen or loaded anew. The first two checkpoints of a run
--   have
--   nothing before them to compare with, and tables of --detail summary have no sample, so that they show no jumps.
WITH
asked AS (
    FROM weights
    WHERE asked_for(model, coalesce(getvariable('model'), '*')) AND asked_for(slot, coalesce(getvariable('slot'), '*'))
        AND kind = 'weight'
),

sized AS (
    SELECT
        *, l2_norm / sqrt(value_count - nan_count - inf_count) AS scale, nan_count + inf_count > 0 AS lost,
        -- A vector of a role that nobody told may be anything.
        is_kernel(role) OR role = 'unknown' AND len(canonical_shape) >= 2 AS bulk,
        -- An embedding's rows, and a kernel that few values go into, have a scale of their own.
        role IN ('kernel', 'recurrent_kernel', 'pointwise_kernel') AND value_count >= 8 * coalesce(unit_count, 1) AS wide
    FROM asked
    -- Integers hold codes or counts, not weights of this scale.
    WHERE (starts_with(dtype, 'float') OR dtype = 'bfloat16') AND value_count > nan_count + inf_count
        OR nan_count + inf_count > 0
),

diverged AS (
    SELECT
        'error' AS severity, 'diverged' AS finding, model, NULL AS slot,
        concat_ws('; ',
            CASE WHEN huge > 0 THEN concat(huge, ' of ', counts(tensors, 'tensor'),
                ' of an extreme scale, up to ', figure_text(largest)) END,
            CASE WHEN broken > 0 THEN counts(broken, 'tensor') || ' with NaN or infinite values' END) AS seen,
        largest AS value, coalesce(getvariable('diverged_scale'), 100) AS limit_,
        'return to an earlier checkpoint; lower the learning rate, or clip gradients' AS advice
    FROM (
        SELECT
            model, count(*) AS tensors, count(*) FILTER (bulk) AS kernels, max(abs_max) AS largest,
            count(*) FILTER (lost) AS broken, count(*) FILTER (lost AND bulk) AS broken_kernels,
            count(*) FILTER (scale > coalesce(getvariable('diverged_scale'), 100)
                AND NOT is_statistic(role) AND role NOT IN ('bias', 'unknown')) AS huge,
            count(*) FILTER (scale > coalesce(getvariable('diverged_scale'), 100) AND bulk) AS huge_kernels
        FROM sized GROUP BY model
    )
    WHERE huge >= 2 OR huge_kernels >= 2 AND huge_kernels >= 0.5 * kernels
        OR broken >= 2 AND broken_kernels >= 0.5 * kernels AND broken_kernels >= 1
),

large AS (
    SELECT
        'warning' AS severity, 'exploding' AS finding, model, slot,
        CASE WHEN abs_max > limit_ THEN 'largest value ' || figure_text(abs_max)
            ELSE 'root mean square ' || figure_text(scale) END AS seen,
        CASE WHEN abs_max > limit_ THEN abs_max ELSE scale END AS value,
        CASE WHEN abs_max > limit_ THEN limit_ ELSE coalesce(getvariable('largest_scale'), 4) END AS limit_,
        CASE WHEN is_statistic(role) THEN 'scale the inputs, or lower the learning rate'
            ELSE 'lower the learning rate, or clip gradients' END AS advice
    FROM (
        -- The bias of an output is as large as what it predicts.
        SELECT * EXCLUDE (wide), CASE
            WHEN role <> 'unknown' THEN wide AND scale > coalesce(getvariable('largest_scale'), 4)
            -- It may be an embedding, whose scale is its own.
            WHEN named_projection(tensor) THEN value_count >= 64 AND scale > coalesce(getvariable('largest_scale'), 4)
            ELSE value_count >= 64 AND scale > 5 * coalesce(getvariable('largest_scale'), 4)
            END AS wide, CASE WHEN is_statistic(role) OR role IN ('bias', 'recurrent_bias')
            THEN coalesce(getvariable('largest_statistic'), 1e6)
            ELSE coalesce(getvariable('largest_value'), 1e3) END AS limit_
        FROM sized
        WHERE is_kernel(role)
            OR role IN ('bias', 'recurrent_bias', 'gamma', 'beta', 'alpha', 'moving_mean', 'moving_variance')
            OR named_weight(role, tensor, canonical_shape, dtype)
    )
    WHERE abs_max > limit_ OR wide
),

outlying AS (
    SELECT
        'info' AS severity, 'outliers' AS finding, model, slot,
        'largest value ' || figure_text(abs_max) || ' is ' || figure_text(abs_max / std) || ' standard deviations'
            AS seen,
        abs_max / std AS value, coalesce(getvariable('outlier_deviations'), 60) AS limit_, 'look at its histogram' AS advice
    -- Many sound kernels have a heavy tail: what stands out is far beyond all others, and rare.
    FROM asked WHERE value_count >= 100 AND is_kernel(role) AND std > 0
        AND abs_max > coalesce(getvariable('outlier_deviations'), 60) * std
        AND abs_max > 4 * greatest(abs(q01), abs(q99))
),

-- Checkpoints in order; of several at one step, the first by name. The models asked for are picked at the end: what is
--   a
-- jump depends on the whole run.
steps AS (
    SELECT run, step, min(model) AS model FROM weights
    WHERE run IS NOT NULL AND step IS NOT NULL GROUP BY run, step
    QUALIFY count(*) OVER (PARTITION BY run) > 2
),

-- A layer that was put in shifts the ordinals of others: what stands in a slot before and after is not one tensor.
architectures AS (
    SELECT model, hash(list(slot || canonical_shape::VARCHAR ORDER BY slot)) AS architecture
    FROM weights SEMI JOIN steps USING (run, step, model) WHERE kind = 'weight' GROUP BY model
),

-- Statistics follow the data, not the optimiser, and are left out.
points AS (
    SELECT
        architecture, run, step, model, slot, canonical_shape,
        sample.value[1:-1:greatest(1, len(sample.value) // 256)]::FLOAT[] AS points
    FROM weights SEMI JOIN steps USING (run, step, model) JOIN architectures USING (model)
    WHERE asked_for(slot, coalesce(getvariable('slot'), '*')) AND kind = 'weight' AND sample IS NOT NULL
        AND NOT is_statistic(role)
),

pairs AS (
    SELECT
        run, architecture, step, model, slot, canonical_shape, points,
        step - lag(step) OVER along AS gap,
        lag(points) OVER along AS before,
        lag(canonical_shape) OVER along AS shape_before
    FROM points
    WINDOW along AS (PARTITION BY run, architecture, slot ORDER BY step)
),

-- Made once, since it reads all samples and several parts below ask for it.
changes AS MATERIALIZED (
    SELECT
        run, architecture, step, model, slot,
        CASE WHEN canonical_shape = shape_before AND len(points) = len(before) AND isfinite(l2) AND l2 > 0
            THEN list_distance(points, before) / l2 / gap END AS change
    FROM (SELECT *, sqrt(list_inner_product(before, before)) AS l2 FROM pairs WHERE before IS NOT NULL)
),

rises AS (
    SELECT
        *,
        -- greatest() passes over NULL: where one of the two is missing, the other one counts.
        greatest(lag(change, 1) OVER along, lag(change, 2) OVER along) AS usual,
        CASE WHEN change > 0 AND usual > 0 THEN ln(change / usual) END AS rise
    FROM changes WHERE isfinite(change)
    WINDOW along AS (PARTITION BY run, architecture, slot ORDER BY step)
),

-- What three quarters of the tensors do at a step is the model's doing; what is left over belongs to the tensor.
typical AS (
    SELECT run, step, count(*) AS slots, quantile_disc(rise, 0.25) AS rise, quantile_disc(change, 0.25) AS change
    FROM rises WHERE rise IS NOT NULL GROUP BY run, step
),

own AS (
    SELECT rises.*, rises.rise - greatest(0, typical.rise) AS own_rise, typical.slots
    FROM rises JOIN typical USING (run, step) WHERE rises.rise IS NOT NULL
),

-- In a run that is restless anyway, what a quarter of all changes do is no jump.
restless AS (SELECT run, greatest(0, quantile_disc(own_rise, 0.75)) AS rise FROM own GROUP BY run),

jumps AS (
    SELECT
        'warning' AS severity, 'jump' AS finding, model, slot,
        'changed by ' || figure_text(change) || ' a step up to step ' || step || '; before by at most '
            || figure_text(usual) AS seen,
        change AS value,
        usual * exp((ln(coalesce(getvariable('jump_factor'), 5)) + restless.rise)) AS limit_,
        'compare it with the checkpoint before' AS advice
    FROM own JOIN restless USING (run)
    WHERE slots > 2 AND own_rise > (ln(coalesce(getvariable('jump_factor'), 5)) + restless.rise)
        AND change >= coalesce(getvariable('jump_change'), 0.1)
),

model_jumps AS (
    SELECT
        'warning' AS severity, 'model_jump' AS finding, steps.model, NULL AS slot,
        'three quarters of ' || slots || ' tensors changed by ' || figure_text(exp(rise))
            || ' times as much up to step ' || step AS seen,
        change AS value, coalesce(getvariable('jump_change'), 0.1) AS limit_,
        'see the learning rate and the loss at this step' AS advice
    FROM typical JOIN steps USING (run, step)
    WHERE rise > ln(coalesce(getvariable('jump_factor'), 5)) AND change >= coalesce(getvariable('jump_change'), 0.1)
)

SELECT severity, finding, model, slot, seen, value, figure_text(limit_) AS threshold, advice
FROM (
    FROM diverged
    UNION ALL FROM large
    UNION ALL FROM outlying
    UNION ALL FROM jumps
    UNION ALL FROM model_jumps
)
WHERE asked_for(model, coalesce(getvariable('model'), '*'))
ORDER BY CASE severity WHEN 'error' THEN 0 WHEN 'warning' THEN 1 ELSE 2 END, finding, value DESC, model, slot;
