-- models: What is in each model?
--
-- Parameters
--   model  VARCHAR = '*'   which models: a name, or a pattern with * and ?
-- Columns
--   model                          the model
--   framework                      who wrote the file, as it says; NULL when it does not
--   format                         the container
--   layers [layers]                layers that hold weights; NULL when the file knows no layers
--   tensors [tensors]              tensors, without optimizer state
--   parameters [values]            values in them
--   trainable [values]             those that training may change; NULL where any tensor does not tell
--   source_bytes [bytes]           size of the file
--   zero_fraction [fraction]       share of values that are exactly zero
--   nonfinite [values]             values that are NaN or infinite
-- How to read it
--   Models of one architecture have the same layers, tensors and parameters. A share of zeros far from that of its
--   siblings was pruned, regularised away or never trained: `health` and `sparsity` say where.
-- What it does not prove
--   Nothing about how well a model performs.
SELECT
    model,
    any_value(framework) AS framework,
    any_value(format) AS format,
    nullif(count(DISTINCT layer), 0) AS layers,
    count(*) AS tensors,
    sum(value_count)::BIGINT AS parameters,
    CASE WHEN bool_and(trainable IS NOT NULL)
        THEN coalesce(sum(value_count) FILTER (trainable), 0)::BIGINT END AS trainable,
    any_value(source_bytes) AS source_bytes,
    sum(zero_count) / nullif(sum(value_count), 0) AS zero_fraction,
    sum(nan_count + inf_count)::BIGINT AS nonfinite
FROM weights
WHERE asked_for(model, coalesce(getvariable('model'), '*'))
GROUP BY model
ORDER BY model;
