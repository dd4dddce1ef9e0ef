-- sparsity: Where are the zeros, and what is close to zero?
--
-- Parameters
--   model      VARCHAR = '*'          which models: a name, or a pattern with * and ?
--   slot       VARCHAR = '*'          which slots: a name, or a pattern with * and ?
--   per        VARCHAR = 'model'      a row a 'model', a 'layer' or a 'tensor'
--   threshold  DOUBLE = 0.0009765625  |w| below it is close to zero; it is moved to the nearest edge of the histograms
-- Columns
--   model                       the model
--   slot                        the tensor, or the layer (its slots without their last part); NULL for a whole model
--   values [values]             number of values
--   zeros [values]              those that are exactly zero
--   zero_fraction [fraction]    zeros / values; NULL where there are no values
--   threshold                   the edge that was used
--   below [values]              values with |w| < threshold, zeros included; exact, because it is an edge
--   below_fraction [fraction]   below / values
--   zero_units [units]          output units whose incoming weights are all near zero (|w| < 2^-10); NULL if unknown
--   units [units]               output units of the tensors that tell
--   zero_inputs [inputs]        inputs whose outgoing weights are all near zero (|w| < 2^-10); NULL if unknown
-- How to read it
--   Most sparse first. Exact zeros come from pruning, from fresh biases, or from a damaged file; values that are small
--   but not zero from strong weight decay. Ask again with per = 'layer' or 'tensor' to see where. Edges of the
--   histograms are 2^k (1 + j/8) for whole k and j = 0 ... 7, at least 2^-126. Compare a threshold with the scale of
--   the weights: in a layer whose std is 1e-4 everything is below 2^-10. A unit is counted in each tensor that has it.
-- What it does not prove
--   That a unit is dead or a weight superfluous: that depends on the data as well. `health` gathers the evidence.
WITH counted AS (
    SELECT
        model,
        CASE coalesce(getvariable('per'), 'model')
            WHEN 'model' THEN NULL
            WHEN 'layer' THEN layer_of_slot(slot)
            WHEN 'tensor' THEN slot
            ELSE error('per is ''' || coalesce(getvariable('per'), 'model') || '''; it is model, layer or tensor')
        END AS slot,
        value_count, zero_count, zero_unit_count, unit_count, zero_input_count,
        -- The usual threshold is counted already, and then DuckDB need not read the histograms.
        CASE WHEN histogram_edge(coalesce(getvariable('threshold'), 0.0009765625)) = 0.0009765625 THEN near_zero_count
            ELSE count_below(histogram, histogram_edge(coalesce(getvariable('threshold'), 0.0009765625)))
        END AS below_count
    FROM weights
    WHERE asked_for(model, coalesce(getvariable('model'), '*'))
        AND asked_for(slot, coalesce(getvariable('slot'), '*'))
)

SELECT
    model,
    slot,
    sum(value_count)::BIGINT AS "values",
    sum(zero_count)::BIGINT AS zeros,
    sum(zero_count) / nullif(sum(value_count), 0) AS zero_fraction,
    histogram_edge(coalesce(getvariable('threshold'), 0.0009765625)) AS threshold,
    CASE WHEN bool_and(below_count IS NOT NULL) THEN sum(below_count)::BIGINT END AS below,
    CASE WHEN bool_and(below_count IS NOT NULL) THEN sum(below_count) / nullif(sum(value_count), 0) END
        AS below_fraction,
    sum(zero_unit_count)::BIGINT AS zero_units,
    sum(unit_count) FILTER (zero_unit_count IS NOT NULL)::BIGINT AS units,
    sum(zero_input_count)::BIGINT AS zero_inputs
FROM counted
GROUP BY model, slot
ORDER BY below_fraction DESC NULLS LAST, zero_fraction DESC NULLS LAST, model, slot;
