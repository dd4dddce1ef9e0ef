-- duplicates: Which models, and which tensors, are the same?
--
-- Parameters
--   model     VARCHAR = '*'   which models: a name, or a pattern with * and ?
--   smallest  BIGINT = 16     a tensor of fewer values is not evidence by itself
-- Columns
--   finding                     'identical models', 'shared tensors' between models, or 'repeated tensor' in a model
--   model_count [models]        how many models it is about
--   tensor_count [tensors]      equal tensors
--   value_count [values]        values in them, each counted once
--   value_fraction [fraction]   value_count / values of the largest of these models
--   models                      the models
--   slots                       the tensors, by their slots in the first of these models
-- How to read it
--   Models are identical when all their weights are, bit for bit, whatever the files, containers, compression, layers
--   and tensors are called: one of them is enough. Then come tensors that the same models share, such as a frozen
--   backbone, the most values first; identical models count there once, by the first of them. Then tensors that stand
--   more than once in one model, such as tied weights, with the values of one copy. A tensor is evidence if it has at
--   least `smallest` values, and they fill more than two bins of its histogram: fresh biases are equal everywhere.
-- What it does not prove
--   That models not listed differ much: one changed bit is a difference. The comparison is of values as stored, with
--   their type and shape, so a float16 copy, or one whose framework stores a tensor in another layout (CuDNN, channels
--   first), is not found; `wexport diff` compares such files.
WITH listed AS (
    SELECT
        model, slot, tensor_index, content_hash, value_count,
        -- Two bins are too few: a fresh LSTM's bias is 0, and 1 for the forget gate; an identity matrix is 0 and 1.
        value_count >= coalesce(getvariable('smallest'), 16) AND std > 0 AND coalesce(len(histogram.count) > 2, true)
            AS is_evidence
    FROM weights
    WHERE asked_for(model, coalesce(getvariable('model'), '*'))
),

-- A model's content: all its tensors' contents, in an order of their own. Unknown if any tensor's is.
contents AS (
    SELECT
        model,
        count(*) AS tensor_count,
        sum(value_count)::BIGINT AS value_count,
        list(slot ORDER BY tensor_index) AS slots,
        CASE WHEN bool_or(is_evidence) AND count(content_hash) = count(*)
            THEN md5(string_agg(content_hash, ' ' ORDER BY content_hash)) END AS content
    FROM listed
    GROUP BY model
),

identical AS (
    SELECT
        'identical models' AS finding, count(*) AS model_count, any_value(tensor_count) AS tensor_count,
        any_value(value_count) AS value_count, 1.0::DOUBLE AS value_fraction,
        list(model ORDER BY model) AS models, arg_min(slots, model) AS slots
    FROM contents
    WHERE content IS NOT NULL
    GROUP BY content
    HAVING count(*) > 1
),

-- One of each lot of identical models stands for it.
distinct_models AS (
    SELECT min(model) AS model, any_value(value_count) AS model_values
    FROM contents
    GROUP BY coalesce(content, model)
),

-- Each content once in each model, where it stands first.
held AS (
    SELECT
        content_hash, model, any_value(model_values) AS model_values, any_value(value_count) AS value_count,
        arg_min(slot, tensor_index) AS slot, min(tensor_index) AS tensor_index
    FROM listed JOIN distinct_models USING (model)
    WHERE is_evidence AND content_hash IS NOT NULL
    GROUP BY content_hash, model
),

in_several AS (
    SELECT
        content_hash, list(model ORDER BY model) AS models, max(model_values) AS model_values,
        any_value(value_count) AS value_count, arg_min(struct_pack(tensor_index, slot), model) AS place
    FROM held
    GROUP BY content_hash
    HAVING count(*) > 1
),

shared AS (
    SELECT
        'shared tensors' AS finding, len(models) AS model_count, count(*) AS tensor_count,
        sum(value_count)::BIGINT AS value_count, sum(value_count) / any_value(model_values) AS value_fraction,
        models, list(place.slot ORDER BY place) AS slots
    FROM in_several
    GROUP BY models
),

in_one AS (
    SELECT
        model, count(*) AS tensor_count, any_value(value_count) AS value_count,
        list(slot ORDER BY tensor_index, slot) AS slots
    FROM listed
    WHERE is_evidence AND content_hash IS NOT NULL
    GROUP BY model, content_hash
    HAVING count(*) > 1
),

repeated AS (
    SELECT
        'repeated tensor' AS finding, count(*) AS model_count, len(in_one.slots) AS tensor_count,
        in_one.value_count,
        in_one.value_count / max(contents.value_count) AS value_fraction,
        list(model ORDER BY model) AS models, in_one.slots
    FROM in_one JOIN contents USING (model)
    GROUP BY in_one.slots, in_one.value_count
)

SELECT finding, model_count, tensor_count, value_count, value_fraction, models, slots
FROM (FROM identical UNION ALL FROM shared UNION ALL FROM repeated)
ORDER BY
    list_position(['identical models', 'shared tensors', 'repeated tensor'], finding),
    value_count DESC, model_count DESC, models, slots;
