-- models: What is in each model?
--
-- Parameters
--   model  VARCHAR = '*'   which models: a name, or a pattern with * and ?
-- Columns
--   model                          the model
--   step [steps or epochs]         its number, where it is a checkpoint of a run
--   framework                      who wrote the file, as it says; NULL when it does not
--   dtype                          stored types, separated by commas
--   layers [layers]                layers that hold weights; NULL when the file knows no layers
--   tensors [tensors]              tensors, without optimizer state
--   parameters [values]            values in them
--   trainable [values]             those that training may change; NULL where any tensor does not tell
--   bytes [bytes]                  size of the file
--   zero_fraction [fraction]       share of values that are exactly zero
--   findings [findings]            defects that the tensors show by themselves
--   found                          of which kinds, as `health` names them; NULL for none
-- How to read it
--   Models of one architecture have the same layers, tensors and parameters (`architectures` says which do). A share of
--   zeros far from that of its siblings was pruned, regularised away or never trained: `sparsity` says where. What
--   the findings mean and where they are, `health` says. Checkpoints stand together, in the order of their steps.
-- What it does not prove
--   Nothing about how well a model performs. No finding here does not mean that there is none: jumps, frozen layers and
--   layers that never trained show by other queries (`wexport check` asks them all).
WITH defective AS (
    SELECT
        model, sum(len(defects))::BIGINT AS findings,
        array_to_string(list_sort(list_distinct(flatten(list(defects)))), ', ') AS found
    FROM tensor_defects(1e-2)
    WHERE asked_for(model, coalesce(getvariable('model'), '*'))
    GROUP BY model
)
SELECT
    model,
    any_value(step) AS step,
    any_value(framework) AS framework,
    string_agg(DISTINCT dtype, ', ' ORDER BY dtype) AS dtype,
    -- As count(DISTINCT layer), in half the time: few layers of a model, many models.
    list_unique(list(hash(layer)) FILTER (layer IS NOT NULL))::BIGINT AS layers,
    count(*) AS tensors,
    sum(value_count)::BIGINT AS parameters,
    CASE WHEN bool_and(trainable IS NOT NULL)
        THEN coalesce(sum(value_count) FILTER (trainable), 0)::BIGINT END AS trainable,
    any_value(source_bytes) AS bytes,
    sum(zero_count) / nullif(sum(value_count), 0) AS zero_fraction,
    coalesce(any_value(findings), 0) AS findings,
    any_value(found) AS found
FROM weights LEFT JOIN defective USING (model)
WHERE asked_for(model, coalesce(getvariable('model'), '*'))
GROUP BY model
ORDER BY any_value(run) NULLS FIRST, any_value(step), model;
