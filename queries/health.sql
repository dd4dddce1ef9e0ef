-- health: Which tensors hold values, units or inputs that do nothing, or are broken?
--
-- Parameters
--   model           VARCHAR = '*'   which models: a name, or a pattern with * and ?
--   slot            VARCHAR = '*'   which tensors: a slot, or a pattern with * and ?
--   collapse_ratio  DOUBLE = 1e-3   a unit has collapsed when its norm is below this share of the larger norms
-- Columns
--   severity                 error, warning or info
--   finding                  nan, inf, zero_tensor, near_zero_tensor, constant, zero_units, collapsed_units,
--     zero_inputs
--   model                    the model
--   slot                     the tensor
--   seen                     what was found there, and which units, from 0
--   output                   what the units found give to the next layer, as far as bias and activation tell
--   outgoing                 what the next layer with as many inputs makes of them
--   on_inputs                whether what a layer with such units gave on the inputs that it was run on confirms or
--     clears them; NULL where the table has no outputs of the layer
--   count [values or units]  how many were found
--   threshold                where the finding begins
--   advice                   what to do
-- How to read it
--   A unit (filter, neuron) with zero incoming weights gives the same output for every input: its bias through the
--   activation. Where the next layer has zero inputs as well, it is also ignored, and could be cut out. Near zero is
--   below 2^-10 in magnitude; a collapsed unit is judged by the other units of its tensor, whatever their scale. Units
--   are listed up to 4,096; above that, and in tables of --detail summary, those near zero are counted and not named.
--   Kernels that the config lets begin with zeros or a constant are information only, and so is what is cleared: a unit
--   is confirmed that gave one and the same for every input, and cleared if it gave different ones. The query `outputs`
--   tells of units whose weights look sound and that give nothing all the same.
-- What it does not prove
--   Units whose weights are not zero may still never fire: that depends on the inputs. What is confirmed or cleared is so
--   on the inputs given. The next layer is the next in
--   the order of the file, which need not be the one that reads these units; it tells how many inputs are zero, not
--   which.
WITH
-- The findings of each tensor, as words. Few tensors have any, so that what follows may look closely.
judged AS MATERIALIZED (
    SELECT model, slot, kind, findings
    FROM (
        SELECT
            model, slot, kind,
            tensor_defects(
                role, value_count, nan_count, inf_count, zero_count, near_zero_count, std, unit_count, zero_unit_count,
                units, collapse_ratio := coalesce(getvariable('collapse_ratio'), 1e-3)
            ) || CASE WHEN is_kernel(role) AND near_zero_count < value_count
                AND more_than_chance(zero_input_count, input_count(layer_class, role, canonical_shape), value_count,
                    near_zero_count, std)
                THEN ['zero_inputs'] ELSE [] END AS findings
        FROM weights
        WHERE asked_for(model, coalesce(getvariable('model'), '*'))
            AND asked_for(slot, coalesce(getvariable('slot'), '*'))
    )
    WHERE len(findings) > 0
),

-- A row a finding.
found AS MATERIALIZED (
    SELECT
        model, slot, kind, finding, layer, layer_class, layer_config, direction, role, tensor_index, value_count,
            nan_count,
        inf_count, min, abs_max, unit_count, zero_unit_count, zero_input_count, units, gates,
        input_count(layer_class, role, canonical_shape) AS inputs,
        initializer_class(initializer(layer_config, layer_class, role)) AS begins
    FROM weights JOIN (SELECT model, slot, kind, unnest(findings) AS finding FROM judged) USING (model, slot, kind)
),

-- The units that the finding is about, from 0. A list of norms is made once, and not for each unit; the choice comes
-- after the numbering, since a comprehension with an IF numbers what it chose in some versions of DuckDB.
with_units AS (
    SELECT
        *,
        list_filter(CASE finding
            WHEN 'zero_units' THEN [CASE WHEN unit.zero_fraction = 1 THEN i - 1 END for unit, i in units]
            WHEN 'collapsed_units'
                THEN [CASE WHEN unit.zero_fraction < 1 AND unit.l2_norm < bound THEN i - 1 END for unit, i in units]
        END, lambda place: place IS NOT NULL) AS which
    FROM (
        SELECT *, CASE finding WHEN 'collapsed_units'
            THEN collapse_norm(units, value_count, coalesce(getvariable('collapse_ratio'), 1e-3)) END AS bound
        FROM found
    )
),

counted AS MATERIALIZED (
    SELECT
        *,
        CASE finding
            WHEN 'nan' THEN nan_count WHEN 'inf' THEN inf_count WHEN 'zero_inputs' THEN zero_input_count
            WHEN 'zero_units' THEN coalesce(len(which), zero_unit_count) WHEN 'collapsed_units' THEN len(which)
            ELSE value_count END AS found_count,
        CASE WHEN finding IN ('zero_units', 'collapsed_units') THEN unit_count
            WHEN finding = 'zero_inputs' THEN inputs ELSE value_count END AS found_of
    FROM with_units
),

-- The bias of each unit found, where the layer has one value a unit and the table has them all.
biased AS MATERIALIZED (
    SELECT
        counted.*,
        bias.model IS NOT NULL AS has_bias,
        [bias.sample.value[unit + 1] for unit in counted.which if len(bias.sample.value) = counted.unit_count]
            AS biases,
        json_extract_string(CASE WHEN json_valid(counted.layer_config) THEN counted.layer_config END, '$.activation')
            AS activation
    FROM counted LEFT JOIN weights AS bias
        ON bias.role = 'bias' AND bias.model = counted.model AND bias.layer = counted.layer AND bias.kind = counted.kind
        AND bias.direction IS NOT DISTINCT FROM counted.direction AND bias.gate IS NULL
),

-- The next kernel that has an input, or several (behind a Flatten), for each unit.
next_kernel AS (
    SELECT
        counted.model, counted.slot, counted.finding,
        arg_min(next.slot || ' has ' || next.zero_input_count || ' zero inputs of '
            || input_count(next.layer_class, next.role, next.canonical_shape), next.tensor_index) AS outgoing
    FROM counted JOIN weights AS next
        ON next.model = counted.model AND next.kind = counted.kind AND next.tensor_index > counted.tensor_index
        AND next.zero_input_count IS NOT NULL AND next.role IN ('kernel', 'depthwise_kernel', 'pointwise_kernel')
        AND input_count(next.layer_class, next.role, next.canonical_shape) % nullif(counted.unit_count, 0) = 0
    WHERE counted.which IS NOT NULL OR counted.finding IN ('zero_units', 'zero_tensor', 'near_zero_tensor')
    GROUP BY ALL
),

-- What the layers of these findings gave on the inputs that the model was run on; a shared layer gave several times.
given AS MATERIALIZED (
    SELECT
        model, layer, unit_count, min(canonical_shape[1]) AS inputs, list(idle_units(units, value_count, sample)) AS idle
    FROM tensors SEMI JOIN counted USING (model, layer, unit_count)
    WHERE kind = 'activation' AND units IS NOT NULL AND nan_count + inf_count = 0
    GROUP BY ALL
),

-- The units that are suspect, and those of them that gave the same for every input, however often the layer was called.
proved AS (
    SELECT
        model, slot, finding, given.inputs, suspects,
        list_filter(suspects, lambda unit: len(list_filter(idle, lambda once: list_contains(once, unit))) = len(idle))
            AS idle
    FROM (
        SELECT
            model, slot, finding, layer, unit_count,
            CASE WHEN finding IN ('zero_tensor', 'near_zero_tensor', 'constant') THEN range(unit_count) ELSE which END
                AS suspects
        FROM counted
    ) JOIN given USING (model, layer, unit_count)
    WHERE len(suspects) > 0
)

SELECT
    CASE
        WHEN len(idle) = 0 AND kind = 'weight' THEN 'info'
        WHEN finding IN ('nan', 'inf') THEN CASE kind WHEN 'array' THEN 'info' ELSE 'error' END
        WHEN finding IN ('zero_tensor', 'near_zero_tensor', 'constant') AND begins IN ('zeros', 'zero', 'ones', 'one',
            'constant')
            THEN 'info'
        WHEN finding = 'zero_tensor' THEN 'error'
        WHEN finding = 'zero_inputs' THEN 'info'
        ELSE 'warning' END AS severity,
    finding,
    model,
    slot,
    CASE
        WHEN finding = 'nan' THEN counts(nan_count, 'value') || ' NaN' || coalesce(
            ', by gate: ' || nullif(array_to_string([g.gate || ' ' || g.nan_count for g in gates if g.nan_count > 0],
                ', '), ''), '')
        WHEN finding = 'inf' THEN counts(inf_count, 'value') || ' infinite' || coalesce(
            ', by gate: ' || nullif(array_to_string([g.gate || ' ' || g.inf_count for g in gates if g.inf_count > 0],
                ', '), ''), '')
        WHEN finding = 'zero_tensor' THEN 'all ' || counts(value_count, 'value') || ' are 0'
        WHEN finding = 'near_zero_tensor' THEN 'largest of ' || counts(value_count, 'value') || ': '
            || figure_text(abs_max)
        WHEN finding = 'constant' THEN 'all ' || counts(value_count, 'value') || ' are ' || figure_text(min)
        ELSE found_count || ' of ' || counts(found_of, CASE finding WHEN 'zero_inputs' THEN 'input' ELSE 'unit' END)
            || CASE WHEN which IS NOT NULL THEN ': ' || array_to_string(which[:8], ', ')
                    || CASE WHEN len(which) > 8 THEN ', ...' ELSE '' END
                WHEN finding = 'zero_units' THEN ' near zero, not listed in this table' ELSE '' END
    END AS seen,
    CASE
        WHEN finding NOT IN ('zero_units', 'collapsed_units') THEN NULL
        WHEN role = 'recurrent_kernel' THEN 'does not depend on the state before'
        WHEN role = 'embeddings' THEN 'the same for every token'
        WHEN role = 'depthwise_kernel' THEN 'constant for the pointwise kernel'
        ELSE CASE finding WHEN 'collapsed_units' THEN 'nearly ' ELSE '' END || 'constant: '
            || coalesce(activation, 'activation') || ' of '
            || CASE WHEN NOT has_bias THEN '0 (no bias)'
                WHEN len(biases) > 0 THEN 'bias ' || figure_text(list_min(biases))
                    || CASE WHEN list_min(biases) < list_max(biases) THEN ' to '
                        || figure_text(list_max(biases)) ELSE '' END
                ELSE 'its bias' END
    END AS output,
    outgoing,
    CASE
        WHEN len(idle) = len(suspects) THEN 'confirmed: the same for all ' || counts(proved.inputs, 'input')
        WHEN len(idle) = 0 THEN 'cleared: not the same for all ' || counts(proved.inputs, 'input')
        WHEN idle IS NOT NULL THEN len(idle) || ' of ' || counts(len(suspects), 'unit') || ' confirmed on all '
            || counts(proved.inputs, 'input') || ': ' || unit_list(idle)
    END AS on_inputs,
    found_count AS count,
    CASE finding
        WHEN 'nan' THEN '0' WHEN 'inf' THEN '0'
        WHEN 'zero_tensor' THEN 'all 0' WHEN 'near_zero_tensor' THEN 'all below 2^-10' WHEN 'constant' THEN 'std 0'
        WHEN 'zero_units' THEN CASE WHEN units IS NULL THEN 'all below 2^-10' ELSE 'all weights 0' END
        WHEN 'zero_inputs' THEN 'all below 2^-10'
        ELSE 'norm below ' || figure_text(bound) END AS threshold,
    CASE finding
        WHEN 'nan' THEN 'return to an earlier checkpoint'
        WHEN 'inf' THEN 'return to an earlier checkpoint'
        WHEN 'zero_tensor' THEN 'see whether it was loaded'
        WHEN 'near_zero_tensor' THEN 'weaken weight decay'
        WHEN 'constant' THEN 'see its initialiser'
        WHEN 'zero_inputs' THEN 'see what feeds them'
        ELSE 'cut them out, or decay less' END AS advice
FROM biased LEFT JOIN next_kernel USING (model, slot, finding) LEFT JOIN proved USING (model, slot, finding)
ORDER BY
    CASE severity WHEN 'error' THEN 0 WHEN 'warning' THEN 1 ELSE 2 END, finding, model, slot;
