-- outputs: What do layers give on given inputs, and which units nothing?
--
-- Parameters
--   model  VARCHAR = '*'  which models: a name, or a pattern with * and ?
--   slot   VARCHAR = '*'  which outputs: a slot, or a pattern with * and ?
-- Columns
--   severity              error, warning or info; NULL for an output without a finding
--   finding               nan, inf, constant_output, dead_units, constant_units
--   model                 the model
--   slot                  the output: its layer and `output`; `output_1`, ... where the layer gave several
--   layer_class           class of the layer
--   seen                  what was found, and which units, from 0
--   count [units]         how many units, or values, were found
--   units [units]         how many the layer has
--   inputs [inputs]       on how many inputs
--   mean [output]         mean of all values
--   std [output]          their standard deviation
--   abs_max [output]      their largest magnitude
--   zero_fraction         share of exact zeros
--   threshold             where the finding begins
--   advice                what to do
-- How to read it
--   A row an output and finding; an output with none has one row. A dead unit gave exact zero for every input and place:
--   behind a ReLU it does not learn either, since its gradient is zero. A constant unit gave one and the same value, not
--   zero; where all units of a layer are dead or constant, the output does not depend on the inputs. Only layers with
--   weights or an activation are judged, not those that pass on, pool or reshape what they get. Rows come from
--   `wexport activations`.
-- What it does not prove
--   That a unit is dead on other inputs: few inputs, or inputs of one sort, leave sound units silent. Units are listed up
--   to 4,096 a layer. An output that differs by place or time alone, the same for every input, is not found.
WITH
asked AS MATERIALIZED (
    SELECT
        *, canonical_shape[1] AS inputs,
        json_extract_string(CASE WHEN json_valid(layer_config) THEN layer_config END, '$.activation') AS activation
    FROM tensors
    WHERE kind = 'activation' AND asked_for(model, coalesce(getvariable('model'), '*'))
        AND asked_for(slot, coalesce(getvariable('slot'), '*'))
),

weighted AS (SELECT DISTINCT model, layer FROM tensors WHERE kind = 'weight'),

-- What is judged: what computes something of its own.
judged AS MATERIALIZED (
    SELECT
        model, slot, dead_units(units) AS dead, idle_units(units, value_count, sample) AS idle
    FROM asked
    WHERE units IS NOT NULL AND nan_count + inf_count = 0 AND (
        (activation IS NOT NULL AND activation <> 'linear')
        OR layer_class IN ('Activation', 'ReLU', 'LeakyReLU', 'PReLU', 'ELU', 'ThresholdedReLU', 'Softmax')
        OR (model, layer) IN (SELECT (model, layer) FROM weighted))
),

findings AS (
    SELECT model, slot, 'nan' AS finding, NULL::BIGINT[] AS which, nan_count AS count FROM asked WHERE nan_count > 0
    UNION ALL
    SELECT model, slot, 'inf', NULL, inf_count FROM asked WHERE inf_count > 0
    UNION ALL
    SELECT model, slot, 'constant_output', idle, len(idle)
    FROM judged JOIN asked USING (model, slot) WHERE len(idle) = unit_count
    UNION ALL
    SELECT model, slot, 'dead_units', dead, len(dead)
    FROM judged JOIN asked USING (model, slot) WHERE len(dead) > 0 AND len(idle) < unit_count
    UNION ALL
    SELECT model, slot, 'constant_units', constant, len(constant)
    FROM (
        SELECT *, list_filter(idle, lambda unit: NOT list_contains(dead, unit)) AS constant FROM judged
    ) JOIN asked USING (model, slot) WHERE len(constant) > 0 AND len(idle) < unit_count
)

SELECT
    CASE WHEN finding IN ('nan', 'inf') THEN 'error' WHEN finding IS NOT NULL THEN 'warning' END AS severity,
    finding,
    model,
    slot,
    layer_class,
    CASE
        WHEN finding = 'nan' THEN counts(count, 'value') || ' NaN'
        WHEN finding = 'inf' THEN counts(count, 'value') || ' infinite'
        WHEN finding = 'constant_output' THEN 'the same for all ' || counts(inputs, 'input')
            || CASE WHEN zero_count = value_count THEN ': zero' ELSE '' END
        WHEN finding = 'dead_units' THEN count || ' of ' || counts(unit_count, 'unit') || ' zero for all '
            || counts(inputs, 'input') || ': ' || unit_list(which)
        WHEN finding = 'constant_units' THEN count || ' of ' || counts(unit_count, 'unit') || ' the same for all '
            || counts(inputs, 'input') || ': ' || unit_list(which)
    END AS seen,
    count,
    unit_count AS units,
    inputs,
    mean,
    std,
    abs_max,
    zero_fraction,
    CASE finding
        WHEN 'nan' THEN '0' WHEN 'inf' THEN '0' WHEN 'constant_output' THEN 'every unit'
        WHEN 'dead_units' THEN 'all values 0' WHEN 'constant_units' THEN 'all values alike' END AS threshold,
    finding_advice('outputs', finding) AS advice
FROM asked LEFT JOIN findings USING (model, slot)
ORDER BY
    CASE severity WHEN 'error' THEN 0 WHEN 'warning' THEN 1 WHEN 'info' THEN 2 ELSE 3 END, model, tensor_index, finding;
