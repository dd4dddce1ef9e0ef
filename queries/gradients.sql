-- gradients: Do gradients reach every layer and step, or vanish or explode?
--
-- Parameters
--   model            VARCHAR = '*'  which models: a name, or a pattern with * and ?
--   slot             VARCHAR = '*'  which tensors: a slot, or a pattern with * and ?
--   vanishing_depth  DOUBLE = 1e-4  a kernel's gradient vanishes below this share of the largest of the layers behind it
--   exploding_depth  DOUBLE = 1e3   and explodes above this many times that of the last layer
--   vanishing_time   DOUBLE = 1e-6  the gradient vanishes along time if at the first step it is below this share of the
--     last
--   exploding_time   DOUBLE = 1e3   and explodes if at the first step it is above this many times that of the last
--   largest_norm     DOUBLE = 1e3   the norm of all gradients of a model, above which a step of training is wild
-- Columns
--   severity              error, warning or info; NULL for a gradient without a finding
--   finding               nan, inf, zero_gradient, vanishing_depth, exploding_depth, vanishing_time, exploding_time,
--     exploding_norm
--   model                 the model
--   slot                  the weight, or the layer's input or output, that the loss was differentiated by; NULL where
--     the whole model explodes
--   rms [loss/weight]     root mean square of the gradient
--   relative              the same over the root mean square of the weight
--   depth_ratio           over the largest of the layers behind it, or where it explodes over that of the last layer
--   time_ratio            of a recurrent layer's input: at the first step over at the last
--   seen                  what was found
--   threshold             where the finding begins
--   advice                what to do
-- How to read it
--   The loss is that of the inputs and targets given, and a row is its gradient by one weight. From the last layer to the
--   first it should stay within a few orders of magnitude: what the first layers get is what they learn by. Kernels alone
--   are compared, since gradients of biases and embeddings are of another scale. Along time, what counts is the gradient
--   by the input of a recurrent layer, step by step in the order in which the layer runs (up to 32 bands of steps). A
--   share below 1e-6 is about what a float32 rounds away.
-- What it does not prove
--   That training fails: optimisers such as Adam rescale small gradients, and a model that has learnt its task has small
--   ones everywhere. Where each step has a loss of its own, the gradient along time says little about memory: the nearest
--   loss drowns the others. Batches, and a model that trains on, have other gradients.
WITH
asked AS MATERIALIZED (
    SELECT
        model, slot, layer, layer_class, layer_config, tensor_index, role, nan_count, inf_count, abs_max,
        l2_norm, value_count, l2_norm / nullif(sqrt(value_count - nan_count - inf_count), 0) AS rms, grid,
        role IN ('kernel', 'recurrent_kernel', 'depthwise_kernel', 'pointwise_kernel') AS is_compared
    FROM tensors
    WHERE kind = 'gradient' AND asked_for(model, coalesce(getvariable('model'), '*'))
),

-- Layers in order, those of nested models by themselves.
placed AS (
    SELECT *, min(tensor_index) OVER (PARTITION BY model, layer) AS place
    FROM asked WHERE is_compared AND rms IS NOT NULL
),

kernels AS (
    SELECT
        model, slot,
        max(rms) OVER (PARTITION BY model ORDER BY place RANGE BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING) AS behind,
        first_value(rms) OVER (PARTITION BY model ORDER BY rms = 0, place DESC, tensor_index DESC) AS last
    FROM placed
),

-- The profile along time of what goes into a recurrent layer, first step first. A Bidirectional's own is two in one.
bands AS (
    SELECT
        model, slot,
        [sqrt(list_avg([one * one for one in grid.rms[band * grid.cols + 1:(band + 1) * grid.cols] if isfinite(one)]))
            for band in range(grid.rows)] AS profile,
        coalesce(json_extract_string(
            CASE WHEN json_valid(layer_config) THEN layer_config END, '$.go_backwards') = 'true', false) AS backwards
    FROM asked WHERE role = 'input' AND layer_class <> 'Bidirectional' AND grid.rows >= 3
),

-- Where no input has a value at a step (masked), the gradient is exact zero and says nothing.
times AS (
    SELECT model, slot, moving[1] / nullif(moving[-1], 0) AS ratio, len(profile) AS steps
    FROM (
        SELECT
            *, list_filter(CASE WHEN backwards THEN list_reverse(profile) ELSE profile END, lambda one: one > 0)
                AS moving
        FROM bands
    )
    WHERE len(moving) >= 2
),

figures AS MATERIALIZED (
    SELECT
        asked.*, weight.l2_norm / nullif(sqrt(weight.value_count), 0) AS weight_rms, behind, last, times.ratio, steps
    FROM asked
    LEFT JOIN kernels USING (model, slot)
    LEFT JOIN times USING (model, slot)
    LEFT JOIN tensors AS weight
        ON weight.kind = 'weight' AND weight.model = asked.model AND weight.slot = asked.slot
    WHERE asked_for(asked.slot, coalesce(getvariable('slot'), '*'))
),

norms AS (
    SELECT model, sqrt(sum(l2_norm * l2_norm)) AS norm
    FROM asked WHERE role NOT IN ('input', 'output') GROUP BY model
),

judged AS (
    SELECT
        *,
        CASE
            WHEN nan_count > 0 THEN 'nan'
            WHEN inf_count > 0 THEN 'inf'
            WHEN is_compared AND abs_max = 0 THEN 'zero_gradient'
            WHEN rms / nullif(behind, 0) < coalesce(getvariable('vanishing_depth'), 1e-4) THEN 'vanishing_depth'
            WHEN rms / nullif(last, 0) > coalesce(getvariable('exploding_depth'), 1e3) THEN 'exploding_depth'
            WHEN ratio < coalesce(getvariable('vanishing_time'), 1e-6) THEN 'vanishing_time'
            WHEN ratio > coalesce(getvariable('exploding_time'), 1e3) THEN 'exploding_time'
        END AS finding
    FROM figures
)

SELECT * FROM (
    SELECT
        CASE WHEN finding IN ('nan', 'inf') THEN 'error' WHEN finding IS NOT NULL THEN 'warning' END AS severity,
        finding,
        model,
        slot,
        rms,
        rms / nullif(weight_rms, 0) AS relative,
        CASE finding WHEN 'exploding_depth' THEN rms / last ELSE rms / nullif(behind, 0) END AS depth_ratio,
        ratio AS time_ratio,
        CASE finding
            WHEN 'nan' THEN counts(nan_count, 'value') || ' NaN'
            WHEN 'inf' THEN counts(inf_count, 'value') || ' infinite'
            WHEN 'zero_gradient' THEN 'no value moves the loss'
            WHEN 'vanishing_depth' THEN figure_text(rms) || ', and ' || figure_text(behind) || ' in a layer behind it'
            WHEN 'exploding_depth' THEN figure_text(rms) || ', and ' || figure_text(last) || ' in the last layer'
            WHEN 'vanishing_time' THEN 'at the first step ' || figure_text(ratio) || ' of the last'
            WHEN 'exploding_time' THEN 'at the first step ' || figure_text(ratio) || ' times the last'
        END AS seen,
        CASE finding
            WHEN 'nan' THEN '0' WHEN 'inf' THEN '0' WHEN 'zero_gradient' THEN 'all 0'
            WHEN 'vanishing_depth' THEN figure_text(coalesce(getvariable('vanishing_depth'), 1e-4)) || ' of the largest'
            WHEN 'exploding_depth' THEN figure_text(coalesce(getvariable('exploding_depth'), 1e3)) || ' times the last'
            WHEN 'vanishing_time' THEN figure_text(coalesce(getvariable('vanishing_time'), 1e-6)) || ' of the last'
            WHEN 'exploding_time' THEN figure_text(coalesce(getvariable('exploding_time'), 1e3)) || ' times the last'
        END AS threshold,
        finding_advice('gradients', finding) AS advice
    FROM judged
    UNION ALL
    SELECT
        'warning', 'exploding_norm', model, NULL, NULL, NULL, NULL, NULL, 'norm of all gradients ' || figure_text(norm),
        figure_text(coalesce(getvariable('largest_norm'), 1e3)),
        finding_advice('gradients', 'exploding_norm')
    FROM norms
    WHERE norm > coalesce(getvariable('largest_norm'), 1e3) AND asked_for('', coalesce(getvariable('slot'), '*'))
)
ORDER BY
    CASE severity WHEN 'error' THEN 0 WHEN 'warning' THEN 1 ELSE 2 END, model, finding NULLS LAST, slot;
