-- gates: What is in each gate of the recurrent layers?
--
-- Parameters
--   model  VARCHAR = '*'   which models: a name, or a pattern with * and ?
--   slot   VARCHAR = '*'   which slots: a name, or a pattern with * and ?
-- Columns
--   model                           the model
--   slot                            the tensor, with its direction if the layer has two
--   gate                            i f c o: input, forget, cell, output (LSTM); z r h: update, reset, hidden (GRU)
--   values [values]                 number of values
--   mean [weight]                   mean over finite values
--   std [weight]                    population standard deviation over finite values
--   abs_max [weight]                largest |w| over finite values
--   zero_fraction [fraction]        share of values that are exactly zero
--   near_zero_fraction [fraction]   share with |w| < 2^-10
--   nan [values]                    values that are NaN
--   inf [values]                    values that are infinite
--   note                            what stands out, in words
-- How to read it
--   Gates with NaN or infinite values come first, then models, layers and gates in order. Keras sets the forget gate's
--   bias to 1 at the start (unit_forget_bias) and the other biases to 0: a forget bias of exactly 1 is as it
--   was at the start, one near 1 has moved little. Gates of one tensor begin with one scale; one gate that shrank or
--   grew beside the others was pushed there by training. A GRU's bias may hold two vectors, input and recurrent; its
--   gates are over both.
-- What it does not prove
--   That a gate is always open or shut: its value depends on its inputs and the state as well.
WITH figures AS (
    SELECT
        gates.*,
        weights.tensor_index,
        gate_place(gates.gate) AS gate_place,
        gates.value_count - gates.nan_count - gates.inf_count AS finite_count
    FROM gates JOIN weights USING (model, kind, slot)
    WHERE asked_for(gates.model, coalesce(getvariable('model'), '*'))
        AND asked_for(gates.slot, coalesce(getvariable('slot'), '*'))
)

SELECT
    model,
    slot,
    gate,
    value_count AS "values",
    mean,
    std,
    abs_max,
    zero_count / nullif(value_count, 0) AS zero_fraction,
    near_zero_count / nullif(value_count, 0) AS near_zero_fraction,
    nan_count AS nan,
    inf_count AS inf,
    CASE
        WHEN nan_count > 0 AND inf_count > 0 THEN 'NaN and infinite values'
        WHEN nan_count > 0 THEN 'NaN'
        WHEN inf_count > 0 THEN 'infinite values'
        WHEN zero_count = value_count AND value_count > 0 AND role <> 'bias' THEN 'all zero'
        WHEN role = 'bias' AND gate = 'f' AND min = 1 AND max = 1 THEN 'forget bias is exactly 1'
    END AS note
FROM figures
ORDER BY nan_count + inf_count > 0 DESC NULLS LAST, run NULLS FIRST, step, model, tensor_index, slot, gate_place, gate;
