-- recurrence: Are gates of recurrent layers shut or open for good, or of another scale?
--
-- Parameters
--   model             VARCHAR = '*'  which models: a name, or a pattern with * and ?
--   slot              VARCHAR = '*'  which tensors: a slot, or a pattern with * and ?
--   lowest_bias       DOUBLE = -4    a gate whose mean bias is lower is shut
--   highest_bias      DOUBLE = 6     a gate whose mean bias is higher is open
--   gate_factor       DOUBLE = 10    a gate whose scale is this many times that of its siblings stands out, or a half of it
--   recurrent_factor  DOUBLE = 4     and a recurrent kernel this many times the scale of the input kernel
-- Columns
--   severity   warning
--   finding    gate_shut, gate_open, gate_zero, gate_scale, recurrent_scale
--   model      the model
--   slot       the tensor
--   gate       i f c o: input, forget, cell, output (LSTM); z r h: update, reset, hidden (GRU); NULL for all
--   seen       what was found there
--   value      the figure
--   threshold  where the finding begins
--   advice     what to do
-- How to read it
--   A gate passes sigmoid(w x + b): with a mean bias of -4 it passes a fiftieth, with 6 all but a four-hundredth,
--   whatever comes in. The means of sound models lie between -1.7 and 5.3. The standard deviations of one tensor's gates
--   lie within 0.4 and 2.2 times their median. Recurrent kernels begin orthogonal, with a scale of the input kernel's
--   order; a much larger one saturates every unit, as states lie between -1 and 1.
-- What it does not prove
--   Large weights may outvote a bias. Layers that were begun for long memories (chrono initialisation) have high forget
--   biases on purpose.
WITH asked AS (
    SELECT
        gates.*, weights.tensor_index, coalesce(gates.layer, layer_of_slot(gates.slot)) AS place,
        gates.value_count - gates.nan_count - gates.inf_count AS finite_count
    FROM gates JOIN weights USING (model, kind, slot)
    WHERE gates.kind = 'weight' AND asked_for(gates.model, coalesce(getvariable('model'), '*'))
),

biased AS (
    SELECT
        CASE WHEN mean < 0 THEN 'gate_shut' ELSE 'gate_open' END AS finding, model, slot, gate,
        'mean bias ' || figure_text(mean) AS seen, mean AS value,
        CASE WHEN mean < 0 THEN coalesce(getvariable('lowest_bias'), -4) ELSE coalesce(getvariable('highest_bias'), 6) END
            AS limit_,
        CASE WHEN mean < 0 THEN 'see how its bias began: the gate passes next to nothing'
            ELSE 'see how its bias began: the gate passes everything' END AS advice
    FROM asked
    WHERE role = 'bias' AND gate IN ('i', 'f', 'o', 'z', 'r')
        AND (mean < coalesce(getvariable('lowest_bias'), -4) OR mean > coalesce(getvariable('highest_bias'), 6))
),

scaled AS (
    SELECT
        *,
        median(std) OVER same AS usual, max(std) OVER same AS largest, count(*) OVER same AS siblings
    FROM asked
    WHERE role IN ('kernel', 'recurrent_kernel') AND finite_count = value_count AND value_count >= 16
    WINDOW same AS (PARTITION BY model, kind, place, direction, role)
),

uneven AS (
    SELECT
        CASE WHEN zero_count = value_count THEN 'gate_zero' ELSE 'gate_scale' END AS finding, model, slot, gate,
        CASE WHEN zero_count = value_count THEN 'all ' || counts(value_count, 'weight') || ' of the gate are 0'
            ELSE 'standard deviation ' || figure_text(std) || ' beside ' || figure_text(usual) || ', the median of the gates'
            END AS seen,
        std / usual AS value,
        CASE WHEN std > usual THEN coalesce(getvariable('gate_factor'), 10)
            ELSE 0.5 / coalesce(getvariable('gate_factor'), 10) END AS limit_,
        'see how it was loaded or converted, and the learning rate' AS advice
    FROM scaled
    WHERE siblings > 2 AND usual > 0 AND (std / usual > coalesce(getvariable('gate_factor'), 10)
        OR std / usual < 0.5 / coalesce(getvariable('gate_factor'), 10))
),

recurrent AS (
    SELECT
        'recurrent_scale' AS finding, state.model, state.slot, NULL AS gate,
        'standard deviation ' || figure_text(state.std) || ' beside ' || figure_text(input.std) || ' of the input kernel'
            AS seen,
        state.std / input.std AS value, coalesce(getvariable('recurrent_factor'), 4) AS limit_,
        'begin orthogonal, and clip gradients' AS advice
    FROM weights AS state JOIN weights AS input
        ON input.model = state.model AND input.kind = state.kind AND input.role = 'kernel'
        AND coalesce(input.layer, layer_of_slot(input.slot)) = coalesce(state.layer, layer_of_slot(state.slot))
        AND input.direction IS NOT DISTINCT FROM state.direction AND input.gate IS NOT DISTINCT FROM state.gate
    WHERE state.role = 'recurrent_kernel' AND state.kind = 'weight' AND input.std > 0 AND input.value_count >= 16
        AND asked_for(state.model, coalesce(getvariable('model'), '*'))
        AND state.std > coalesce(getvariable('recurrent_factor'), 4) * input.std
        AND state.std * sqrt(state.canonical_shape[1]) > 3
)

SELECT 'warning' AS severity, finding, model, slot, gate,
    coalesce('gate ' || gate || ': ', '') || seen AS seen, value, figure_text(limit_) AS threshold, advice
FROM (FROM biased UNION ALL FROM uneven UNION ALL FROM recurrent)
WHERE asked_for(slot, coalesce(getvariable('slot'), '*'))
ORDER BY finding, model, slot, gate;
