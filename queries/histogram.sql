-- histogram: How are the values of a slot distributed in several models?
--
-- Parameters
--   slot   VARCHAR = '*'   which slots: a name, or a pattern with * and ?
--   model  VARCHAR = '*'   which models: a name, or a pattern with * and ?
--   gate   VARCHAR = ''    '' takes whole tensors, '*' each gate of a recurrent layer, 'f' one gate
-- Columns
--   model                       the model
--   slot                        the tensor
--   gate                        the gate; NULL for a whole tensor
--   lower [weight]              lower edge of the bin
--   upper [weight]              upper edge; equal to lower for the bin of exact zeros
--   count [values]              finite values in the bin
--   share [fraction]            count / finite values of the tensor or gate
--   density [1 / weight]        share / width of the bin; NULL for the bin of exact zeros, which has none
-- How to read it
--   Name one slot. Edges are the same for every tensor and model, 8 to an octave of |w|: bins of two models compare
--   one to one, and may be added. A bin that is not listed holds nothing. Draw density over [lower, upper] and the zero
--   bin as a mark of its own, or share over a logarithmic axis of |w|, where bins are about equally wide.
-- What it does not prove
--   Tensors of equal histograms may hold their values in quite other places. Where in its bin a value is, is not known.
WITH chosen AS (
    SELECT model, run, step, kind, slot, tensor_index, NULL::VARCHAR AS gate, histogram
    FROM weights
    WHERE coalesce(getvariable('gate'), '') = ''
    UNION ALL BY NAME
    SELECT gates.model, gates.run, gates.step, kind, slot, tensor_index, gates.gate, gates.histogram
    FROM gates JOIN (SELECT model, kind, slot, tensor_index FROM weights) USING (model, kind, slot)
    WHERE coalesce(getvariable('gate'), '') <> '' AND asked_for(gates.gate, coalesce(getvariable('gate'), ''))
),

bins AS (
    SELECT
        model, run, step, slot, tensor_index, gate,
        gate_place(gate) AS gate_place,
        list_sum(histogram.count) AS finite_count,
        unnest(histogram.lower) AS lower, unnest(histogram.upper) AS upper, unnest(histogram.count) AS "count"
    FROM chosen
    WHERE asked_for(model, coalesce(getvariable('model'), '*'))
        AND asked_for(slot, coalesce(getvariable('slot'), '*'))
)

SELECT
    model,
    slot,
    gate,
    lower,
    upper,
    "count",
    "count" / finite_count AS share,
    CASE WHEN upper > lower THEN "count" / finite_count / (upper - lower) END AS density
FROM bins
ORDER BY min(tensor_index) OVER (PARTITION BY slot), slot, run NULLS FIRST, step, model, gate_place, gate, lower, upper;
