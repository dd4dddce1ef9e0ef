-- penalties: What do regularisers add to the loss, tensor by tensor?
--
-- Parameters
--   model  VARCHAR = '*'  which models: a name, or a pattern with * and ?
--   slot   VARCHAR = '*'  which tensors: a slot, or a pattern with * and ?
-- Columns
--   model            the model
--   slot             the tensor
--   regularizer      class of its regulariser, as the layer's config has it
--   l1 [loss/weight]  factor of the sum of magnitudes
--   l2 [loss/weight^2]  factor of the sum of squares
--   penalty [loss]   what it adds to the loss; NULL for a regulariser other than L1 and L2
--   share            of what all regularisers of the model add
-- How to read it
--   A row a tensor with a regulariser, the largest penalty first. The sum over a model is what Keras adds to the loss of
--   each batch. A share far above that of its siblings is where a penalty shapes the weights most.
-- What it does not prove
--   Whether a penalty is too strong: compare with the loss on validation data. Weight decay of the optimiser is not
--   among them, nor penalties of outputs.
WITH told AS (
    SELECT
        model, slot, tensor_index, l1_norm, l2_norm,
        json_extract(layer_config, '$.' || CASE
            WHEN role = 'kernel' AND starts_with(layer_class, 'DepthwiseConv') THEN 'depthwise'
            WHEN role = 'recurrent_bias' THEN 'bias'
            WHEN role IN ('depthwise_kernel', 'pointwise_kernel', 'recurrent_kernel') THEN replace(role, '_kernel', '')
            ELSE role END || '_regularizer') AS regularizer
    FROM weights
    WHERE json_valid(layer_config) AND asked_for(model, coalesce(getvariable('model'), '*'))
        AND asked_for(slot, coalesce(getvariable('slot'), '*'))
),

factors AS (
    SELECT
        *, json_extract_string(regularizer, '$.class_name') AS class,
        CASE WHEN class IN ('L1', 'L1L2')
            THEN coalesce(json_extract_string(regularizer, '$.config.l1')::DOUBLE, 0) WHEN class = 'L2' THEN 0 END AS l1,
        CASE WHEN class IN ('L2', 'L1L2')
            THEN coalesce(json_extract_string(regularizer, '$.config.l2')::DOUBLE, 0) WHEN class = 'L1' THEN 0 END AS l2
    FROM told WHERE json_extract_string(regularizer, '$.class_name') IS NOT NULL
)

SELECT
    model, slot, class AS regularizer, l1, l2, l1 * l1_norm + l2 * l2_norm ** 2 AS penalty,
    penalty / nullif(sum(penalty) OVER (PARTITION BY model), 0) AS share
FROM factors
ORDER BY model, penalty DESC NULLS LAST, tensor_index;
