-- health: Which tensors hold values, units or inputs that do nothing, or are broken?
--
-- Parameters
--   model           VARCHAR = '*'   which models: a name, or a pattern with * and ?
--   slot            VARCHAR = '*'   which tensors: a slot, or a pattern with * and ?
--   collapse_ratio  DOUBLE = 1e-2   a unit has collapsed when its norm is below this share of the larger norms
-- Columns
--   severity                 error, warning or info
--   finding                  nan, inf, zero_tensor, near_zero_tensor, constant, zero_units, zero_block,
--     collapsed_units, twin_units, rank_one, ordered_kernel, zero_inputs
--   model                    the model
--   slot                     the tensor
--   seen                     what was found there, and which units, from 0
--   output                   what the units found give to the next layer, as far as bias and activation tell
--   outgoing                 what the kernels that read them make of them; where the file tells no graph, the one other
--     kernel with as many inputs; NULL where there are several
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
--   Twin units are copies of each other, in norm and in largest value: a kernel that began with a constant, or units
--   that were written twice. A kernel of rank one, or one whose values stand in the order of their size, is none that
--   training makes: see how it was converted or loaded. Zero units of a kernel whose other units have one norm belong to
--   a transform that somebody worked out, such as Fourier's, and are information.
--   Kernels that the config lets begin with zeros or a constant are information only, and so is what is cleared: a unit
--   is confirmed that gave one and the same for every input, and cleared if it gave different ones. The query `outputs`
--   tells of units whose weights look sound and that give nothing all the same.
-- What it does not prove
--   Units whose weights are not zero may still never fire: that depends on the inputs. What is confirmed or cleared is so
--   on the inputs given.
--   Where the file tells no graph, the table does not know which layer reads these units: the other kernel is one that
--   has as many inputs, or several for each unit. It tells how many of them are zero, not which.
WITH
-- The findings of each tensor, as words. Few tensors have any, so that what follows may look closely.
judged AS MATERIALIZED (
    SELECT model, slot, kind, defects AS findings
    FROM tensor_defects(coalesce(getvariable('collapse_ratio'), 1e-2))
    WHERE asked_for(model, coalesce(getvariable('model'), '*'))
        AND asked_for(slot, coalesce(getvariable('slot'), '*'))
),

-- Kernels with zero units: the inputs that the next one has of them are rightly zero.
producers AS (
    SELECT model, kind, list({'units': unit_count, 'zeros': zero_unit_count}) AS producers
    FROM weights SEMI JOIN judged USING (model, kind)
    WHERE is_kernel(role) AND zero_unit_count > 0 AND unit_count > 0 GROUP BY model, kind
),

-- A row a finding.
found AS MATERIALIZED (
    SELECT
        model, slot, kind, finding, layer, layer_class, layer_config, direction, role, tensor_index, value_count,
            nan_count,
        inf_count, zero_fraction, min, q50, abs_max, unit_count, zero_unit_count, zero_input_count, units, sample, gates,
        trainable, format, one_norm(units) AS worked_out,
        input_count(layer_class, role, canonical_shape) AS inputs,
        -- All 0 to the bit, and next to nothing else: neither decay nor pruning by magnitude does that.
        zero_input_count >= greatest(2, 0.1 * inputs) AND zero_fraction >= zero_input_count / inputs - 1e-9
            AND zero_fraction < zero_input_count / inputs + 0.02
            AND role <> 'embeddings' AND trainable IS DISTINCT FROM false
            AND coalesce(len(list_filter(producers, lambda each: inputs % each.units = 0
                AND zero_input_count <= each.zeros * (inputs // each.units))), 0) = 0 AS inputs_lost,
        initializer_class(initializer(layer_config, layer_class, role)) AS begins
    FROM weights JOIN (SELECT model, slot, kind, unnest(findings) AS finding FROM judged) USING (model, slot, kind)
    LEFT JOIN producers USING (model, kind)
),

-- Where the model begins: inputs that are always zero leave the weights of its first kernel where decay takes them.
first_kernels AS (
    SELECT model, kind, min(tensor_index) AS first_index FROM weights SEMI JOIN found USING (model, kind)
    WHERE is_kernel(role) GROUP BY model, kind
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
            THEN collapse_norm(units, value_count, coalesce(getvariable('collapse_ratio'), 1e-2)) END AS bound
        FROM found
    )
),

counted AS MATERIALIZED (
    SELECT
        *,
        CASE finding
            WHEN 'twin_units' THEN twin_count(units)
            WHEN 'zero_block' THEN (zero_fraction * value_count)::BIGINT
            WHEN 'nan' THEN nan_count WHEN 'inf' THEN inf_count WHEN 'zero_inputs' THEN zero_input_count
            WHEN 'zero_units' THEN coalesce(len(which), zero_unit_count) WHEN 'collapsed_units' THEN len(which)
            ELSE value_count END::BIGINT AS found_count,
        CASE WHEN finding IN ('zero_units', 'collapsed_units', 'twin_units') THEN unit_count
            WHEN finding = 'zero_inputs' THEN inputs ELSE value_count END AS found_of
    FROM with_units
),

-- The bias of each unit found, where the layer has one such bias, for one such kernel, and the table has it whole.
own_bias AS (
    SELECT model, layer, kind, direction, len(sample.value) AS unit_count, any_value(sample.value) AS offsets
    FROM weights SEMI JOIN counted USING (model, layer, kind)
    WHERE role = 'bias' AND gate IS NULL
    GROUP BY ALL HAVING count(*) = 1
),

one_kernel AS (
    SELECT model, layer, kind, direction, unit_count
    FROM weights SEMI JOIN counted USING (model, layer, kind)
    WHERE role IN ('kernel', 'depthwise_kernel', 'pointwise_kernel')
    GROUP BY ALL HAVING count(*) = 1
),

biased AS MATERIALIZED (
    SELECT
        counted.*, offsets IS NOT NULL AS has_bias, [offsets[unit + 1] for unit in which] AS biases,
        activation_of(layer_config) AS activation
    FROM counted LEFT JOIN (FROM own_bias SEMI JOIN one_kernel ON one_kernel.model = own_bias.model
            AND one_kernel.layer = own_bias.layer AND one_kernel.kind = own_bias.kind
            AND one_kernel.unit_count = own_bias.unit_count
            AND one_kernel.direction IS NOT DISTINCT FROM own_bias.direction) AS bias
        ON bias.model = counted.model AND bias.layer = counted.layer AND bias.kind = counted.kind
        AND bias.direction IS NOT DISTINCT FROM counted.direction AND bias.unit_count = counted.unit_count
        AND counted.role IN ('kernel', 'depthwise_kernel', 'pointwise_kernel')
),

-- Whether the layer has a bias at all.
any_bias AS (
    SELECT DISTINCT model, layer, kind FROM weights SEMI JOIN counted USING (model, layer, kind) WHERE role = 'bias'
),

-- The kernels that read these units, where the file tells the graph; else the other kernel that has an input, or several
-- (behind a Flatten), for each unit, where there is just one.
next_kernel AS (
    SELECT
        counted.model, counted.slot, counted.finding,
        string_agg(next.slot || ' has ' || next.zero_input_count || ' zero inputs of '
            || input_count(next.layer_class, next.role, next.canonical_shape), ', ' ORDER BY next.tensor_index) AS outgoing
    FROM (SELECT *, fed_layers(layer_config) AS feeds FROM counted) AS counted JOIN weights AS next
        ON next.model = counted.model AND next.kind = counted.kind AND next.slot <> counted.slot
        AND next.zero_input_count IS NOT NULL AND next.role IN ('kernel', 'depthwise_kernel', 'pointwise_kernel')
        AND input_count(next.layer_class, next.role, next.canonical_shape) % nullif(counted.unit_count, 0) = 0
        AND (feeds IS NULL OR list_contains(feeds, next.layer))
    WHERE counted.which IS NOT NULL OR counted.finding IN ('zero_units', 'zero_tensor', 'near_zero_tensor')
    GROUP BY ALL HAVING any_value(feeds) IS NOT NULL OR count(*) = 1
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
        WHEN finding = 'zero_tensor' AND role <> 'unknown' THEN 'error'
        -- Raw arrays may be data.
        WHEN kind = 'array' AND role = 'unknown' AND starts_with(format, 'hdf5') THEN 'info'
        WHEN finding = 'constant' AND role = 'unknown' THEN 'info'
        WHEN finding = 'zero_inputs' AND NOT coalesce(inputs_lost AND tensor_index > first_index, false) THEN 'info'
        WHEN finding IN ('zero_units', 'collapsed_units') AND worked_out AND unit_count >= 8 THEN 'info'
        WHEN finding IN ('zero_units', 'collapsed_units') AND trainable = false THEN 'info'
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
            || figure_text(abs_max) || CASE WHEN abs_max < 1 / 1024 THEN '' ELSE ', largest norm of a unit: '
                || figure_text(list_max([unit.l2_norm for unit in units])) END
        WHEN finding = 'zero_block' THEN 'one block of zeros, '
            || round(100 * zero_end(sample, zero_fraction))::BIGINT || ' % of the tensor'
        WHEN finding = 'twin_units' THEN found_count || ' of ' || counts(found_of, 'unit') || ' are copies of others'
        WHEN finding = 'rank_one' THEN 'all ' || counts(unit_count, 'unit') || ' have one profile, scaled'
        WHEN finding = 'ordered_kernel' THEN 'values and their places correlate by '
            || printf('%.2f', order_correlation(sample, q50, units))
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
            || CASE WHEN NOT has_bias AND any_bias.model IS NULL THEN '0 (no bias)'
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
        WHEN 'zero_tensor' THEN 'all 0' WHEN 'near_zero_tensor' THEN 'all below 2^-10, or no norm of 0.01' WHEN 'constant' THEN 'std 0'
        WHEN 'zero_units' THEN CASE WHEN units IS NULL THEN 'all below 2^-10' ELSE 'all weights 0' END
        WHEN 'zero_inputs' THEN 'all below 2^-10' WHEN 'zero_block' THEN 'a tenth, and no zeros elsewhere'
        WHEN 'twin_units' THEN 'a twentieth, equal to 5 digits' WHEN 'rank_one' THEN 'equal to 1e-4'
        WHEN 'ordered_kernel' THEN '0.9'
        ELSE 'norm below ' || figure_text(bound) END AS threshold,
    CASE
        WHEN kind = 'array' AND role = 'unknown' THEN 'see whether these are weights, or data'
        WHEN finding IN ('nan', 'inf') THEN 'return to an earlier checkpoint, and clip gradients or lower the rate'
        WHEN finding = 'zero_tensor' AND contains(lower(slot), 'lora_b')
            THEN 'an adapter begins so: see whether it was trained'
        WHEN finding = 'zero_tensor' THEN 'see whether it was loaded, and how it began'
        WHEN finding = 'near_zero_tensor' THEN 'weaken weight decay'
        WHEN finding = 'constant' THEN 'see its initialiser, and whether it was loaded'
        WHEN finding = 'zero_inputs' THEN 'see what feeds them'
        WHEN finding = 'zero_block' THEN 'see whether the file was written or converted whole'
        WHEN finding = 'twin_units' THEN 'begin with random values; of copies, keep one'
        WHEN finding IN ('rank_one', 'ordered_kernel') THEN 'see how it was loaded or converted'
        WHEN worked_out AND unit_count >= 8 THEN 'nothing, if it is a fixed transform such as Fourier''s'
        WHEN trainable = false THEN 'nothing, if the layer is fixed on purpose'
        WHEN role = 'embeddings' THEN 'see whether these dimensions are used, or decay less'
        ELSE 'cut them out, or decay less' END AS advice
FROM biased
LEFT JOIN next_kernel USING (model, slot, finding)
LEFT JOIN proved USING (model, slot, finding)
LEFT JOIN any_bias USING (model, layer, kind)
LEFT JOIN first_kernels USING (model, kind)
ORDER BY
    CASE severity WHEN 'error' THEN 0 WHEN 'warning' THEN 1 ELSE 2 END, finding, model, slot;
