-- siblings: Which tensors have quite another scale than in the other models of their architecture?
--
-- Parameters
--   model      VARCHAR = '*'   which models: a name, or a pattern with * and ?
--   larger     DOUBLE = 4      a tensor stands out that is this many times as large as is usual
--   smaller    DOUBLE = 20     or this many times as small
--   deviations DOUBLE = 8      and this many robust standard deviations from the median, more in small groups
-- Columns
--   severity          warning
--   finding           far_from_siblings
--   model             the model
--   slot              the tensor that stands out most
--   seen              what it is beside the others, and how many tensors stand out
--   count [tensors]   how many tensors stand out
--   models [models]   how many trainings were compared
--   threshold         where the finding begins
--   advice            what to do
-- How to read it
--   Models with the same slots and shapes are siblings; of a run only the last checkpoint counts, and of models with the
--   same values only one. Of each tensor but gammas and betas the standard deviation and the spread from the 5 % to the 95 % quantile are taken as logarithms, and held against the median of the siblings, in units of their median absolute
--   deviation (times 1.4826, as for a normal distribution). Groups of fewer than five say nothing.
-- What it does not prove
--   A model that differs need not be worse: it may have had other data or another penalty. Where more than half of the
--   siblings are sick, the sound ones stand out.
WITH described AS (
    SELECT
        model, any_value(run) AS run, any_value(step) AS step,
        hash(list(slot || shape_text(canonical_shape) ORDER BY slot)) AS architecture,
        hash(list(content_hash ORDER BY slot)) AS content
    FROM weights WHERE kind = 'weight' GROUP BY model
),

-- One model a training, as far as names and values tell.
trainings AS (
    SELECT *, count(*) OVER (PARTITION BY architecture) AS models
    FROM (
        FROM described
        QUALIFY row_number() OVER (
                PARTITION BY architecture, coalesce(run, '#' || model) ORDER BY step DESC, model) = 1
            AND row_number() OVER (PARTITION BY architecture, content ORDER BY model) = 1
    )
    QUALIFY models >= 5
),

figures AS (
    SELECT
        model, architecture, models, slot, tensor_index, statistic, size,
        CASE WHEN size > 0 THEN ln(size) END AS height
    FROM (
        SELECT
            model, slot, tensor_index,
            unnest(['standard deviation', 'spread of nine tenths']) AS statistic,
            unnest([std, q95 - q05]) AS size
        FROM weights
        -- The scale of a normalisation is free: what follows a ReLU can take it back.
        WHERE kind = 'weight' AND value_count >= 4 AND nan_count + inf_count = 0
            AND (role NOT IN ('unknown', 'gamma', 'beta')
                OR role = 'unknown' AND may_be_kernel(role, canonical_shape, dtype))
    ) JOIN trainings USING (model)
),

placed AS (
    SELECT
        *, height - median(height) OVER same AS off, exp(median(height) OVER same) AS usual,
        count(height) OVER same AS known, mad(height) OVER same AS spread
    FROM figures
    WINDOW same AS (PARTITION BY architecture, slot, statistic)
),

found AS (
    SELECT *, abs(off) / (1.4826 * spread + 0.05) AS distance
    FROM placed
    -- The median deviation of a few values is itself uncertain.
    WHERE known > 0.5 * models AND known >= 5 AND distance > coalesce(getvariable('deviations'), 8) * (1 + 8 / (known - 3))
        AND (off > ln(coalesce(getvariable('larger'), 4)) OR off < -ln(coalesce(getvariable('smaller'), 20)))
)

SELECT
    'warning' AS severity, 'far_from_siblings' AS finding, model,
    arg_max(slot, abs(off)) AS slot,
    concat(arg_max(statistic, abs(off)), ' ', figure_text(arg_max(size, abs(off))), ' beside ',
        figure_text(arg_max(usual, abs(off))), ', the median of ', any_value(models), ' models; ',
        counts(count(DISTINCT slot), 'tensor'), ' stand', CASE count(DISTINCT slot) WHEN 1 THEN 's' ELSE '' END, ' out')
        AS seen,
    count(DISTINCT slot) AS count,
    any_value(models) AS models,
    concat(coalesce(getvariable('larger'), 4), ' times the median or ', coalesce(getvariable('deviations'), 8),
        ' robust deviations') AS threshold,
    'see what its training had that the others had not' AS advice
FROM found
WHERE asked_for(model, coalesce(getvariable('model'), '*'))
GROUP BY model
ORDER BY count DESC, model;
