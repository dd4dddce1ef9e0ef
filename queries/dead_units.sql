-- dead_units: Which units give the same for every usual input, by their weights and bias?
--
-- Parameters
--   model      VARCHAR = '*'   which models: a name, or a pattern with * and ?
--   slot       VARCHAR = '*'   which tensors: a slot, or a pattern with * and ?
--   input_rms  DOUBLE = 1.0    a unit is dead that is off for every input of at most this root mean square
-- Columns
--   severity       warning
--   finding        dead_units
--   model          the model
--   slot           the kernel
--   seen           how many units of how many, which, from 0, and why
--   count [units]  how many units are dead
--   threshold      where the finding begins
--   advice         what to do
-- How to read it
--   A unit is off when w x + b <= 0. By the Cauchy-Schwarz inequality w x is at most |w| |x|, so that a unit is off for
--   every input whose root mean square is at most r = -b / (|w| sqrt(number of weights)). Inputs that were scaled, and
--   outputs of most layers, have one of about 1. Where all weights of a unit and its bias are at most 0, it is off for
--   every input without negative values, such as images and outputs of a ReLU; only units of 16 weights or more are
--   judged so. A unit that is off gives 0 and gets no gradient: it stays so. Units of layers whose activation is ReLU,
--   GELU, SiLU or alike are judged, also where that is a layer of its own and the file tells the graph; of layers without a config only by their bias, not the last of them, and not
--   where the model has a normalisation of as many channels, which shifts what a bias was. Units of zeros are `health`'s.
-- What it does not prove
--   Inputs that are larger, or have negative values, may wake a unit. Units that are not named may be dead all the same:
--   that depends on the inputs (see `outputs`).
WITH
asked AS (
    SELECT
        model, kind, layer, slot, direction, role, tensor_index, layer_class, unit_count, value_count, units,
        activation_of(layer_config) AS activation
    FROM weights
    WHERE role IN ('kernel', 'depthwise_kernel', 'pointwise_kernel') AND units IS NOT NULL AND gates IS NULL
        AND nan_count + inf_count = 0 AND value_count > unit_count AND layer IS NOT NULL
        AND asked_for(model, coalesce(getvariable('model'), '*'))
),

-- Kernels of layers with one bias and one kernel that it belongs to.
kernels AS (
    FROM asked
    WHERE role <> 'depthwise_kernel' OR layer_class IS DISTINCT FROM 'SeparableConv2D'
    QUALIFY count(*) OVER (PARTITION BY model, kind, layer, direction, unit_count) = 1
),

biases AS (
    SELECT model, kind, layer, direction, value_count AS unit_count, any_value(sample.value) AS offsets
    FROM weights
    WHERE role = 'bias' AND gate IS NULL AND gates IS NULL AND len(sample.value) = value_count
    GROUP BY ALL HAVING count(*) = 1
),

models AS (
    SELECT
        model, max(tensor_index) FILTER (role = 'kernel') AS last,
        list(value_count) FILTER (role = 'moving_variance') AS normalised
    FROM weights GROUP BY model
),

judged AS MATERIALIZED (
    SELECT
        kernels.* EXCLUDE (units), units, offsets, value_count / kernels.unit_count AS fan_in,
        coalesce(activation IN ('relu', 'relu6', 'gelu', 'silu', 'swish', 'hard_silu', 'hard_swish', 'mish'), false)
            AS rectified
    FROM kernels JOIN biases USING (model, kind, layer, unit_count) JOIN models USING (model)
    WHERE kernels.direction IS NOT DISTINCT FROM biases.direction AND asked_for(slot, coalesce(getvariable('slot'), '*'))
        AND (rectified OR activation IS NULL AND NOT coalesce(list_contains(normalised, kernels.unit_count), false) AND tensor_index < last)
),

found AS (
    SELECT
        *,
        list_filter(range(unit_count), lambda unit: units[unit + 1].l2_norm
                > coalesce(collapse_norm(units, value_count, 1e-2), 0)
            AND -offsets[unit + 1] > coalesce(getvariable('input_rms'), 1.0) * units[unit + 1].l2_norm * sqrt(fan_in))
            AS by_bias,
        list_filter(range(unit_count), lambda unit: rectified AND fan_in >= 16 AND units[unit + 1].l2_norm
                > coalesce(collapse_norm(units, value_count, 1e-2), 0)
            AND units[unit + 1].max <= 0 AND offsets[unit + 1] <= 0) AS by_sign
    FROM judged
    WHERE list_min(offsets) <= 0
)

SELECT
    'warning' AS severity, 'dead_units' AS finding, model, slot,
    concat(len(dead), ' of ', counts(unit_count, 'unit'), ': ', unit_list(dead),
        CASE WHEN len(by_bias) > 0 THEN concat('; off for every input of a root mean square up to ',
            coalesce(getvariable('input_rms'), 1.0)) END,
        CASE WHEN len(by_sign) > 0 THEN concat('; ', len(by_sign), ' have neither a weight nor a bias above 0') END)
        AS seen,
    len(dead) AS count,
    '-bias / (norm sqrt(weights)) above ' || coalesce(getvariable('input_rms'), 1.0) || ', or nothing above 0'
        AS threshold,
    'lower the learning rate, or begin with a bias of 0' AS advice
FROM (SELECT *, list_sort(list_distinct(by_bias || by_sign)) AS dead FROM found)
WHERE len(dead) > 0
ORDER BY len(dead) / unit_count DESC, model, slot;
