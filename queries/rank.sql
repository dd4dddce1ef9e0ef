-- rank: Which models do best by a metric, and why in this order?
--
-- Parameters
--   model        VARCHAR = '*'      which models: a name, or a pattern with * and ?
--   metric       VARCHAR = ''       the metric; by default val_loss, else val_accuracy, else another validation metric
--   direction    VARCHAR = ''       'higher' or 'lower' is better; by default as the metric's name tells
--   tolerance    DOUBLE = 0.0       metrics that differ by no more than this are a tie
--   run          VARCHAR = ''       the run that the metrics belong to, where they name no models
--   epoch        VARCHAR = 'last'   of a model with metrics of several epochs, the 'last' or the 'best'
--   epoch_shift  BIGINT = NULL      epoch of the metrics + this = step of the checkpoint; by default 1 where the epochs
--                                   count from 0 and the steps do not, as in Keras
-- Columns
--   place [rank]                   1 is best; equal for models that the metric does not part; NULL without the metric
--   model                          the model; for a name that only the metrics have, that name
--   metric                         the metric that decides
--   value                          the model's; percentages as fractions
--   behind                         how far it is from the best, in the metric's unit
--   parameters [values]            values in the model, without optimizer state
--   zero_units [units]             units whose incoming weights are all near zero; NULL where that is not known
--   defects [tensors]              tensors with defects: NaN, Inf, all zero, collapsed units, ...; `health` names them
--   reason                         why it has this place, or has none
-- How to read it
--   The query reads your own file under the name metrics (--with metrics=FILE), CSV, JSON or Parquet: a column that
--   names models (model, name, file, path, run, ...) and a column a metric, or the columns metric and value; a column
--   epoch if there are several. The file of Keras' CSVLogger serves as it is: its epochs are those of a run's
--   checkpoints. Models are found by name or file name, with or without folder and suffix, and never by guess: what was
--   not found stands last. The metric decides. Within the tolerance models are tied and have one place; of these, those with
--   fewer defects, then fewer zero units, then less heavy tails (largest excess kurtosis of a weight) stand first. A sensible tolerance for an
--   accuracy p over n examples is its standard error, sqrt(p (1 - p) / n). A loss may include penalties of the weights:
--   ask again with metric=val_accuracy.
-- What it does not prove
--   That the best on this validation data is the best on other data: the best of many is partly luck. Models measured
--   on different data cannot be ranked, and the query cannot know. Weights alone never prove which model is better;
--   here they only order those that the metric does not part.
WITH scores AS MATERIALIZED (
    FROM model_scores(
        'metrics',
        coalesce(getvariable('metric'), ''),
        coalesce(getvariable('direction'), ''),
        coalesce(getvariable('run'), ''),
        coalesce(getvariable('epoch_shift'), NULL),
        coalesce(getvariable('epoch'), 'last'))
    WHERE model IS NULL OR asked_for(model, coalesce(getvariable('model'), '*'))
),
condition AS MATERIALIZED (
    SELECT
        model,
        sum(value_count)::BIGINT AS parameters,
        sum(zero_unit_count)::BIGINT AS zero_units,
        count(defects) AS defects,
        max(kurtosis) FILTER (NOT is_statistic(role)) AS tails,
        md5(string_agg(concat(slot, canonical_shape::VARCHAR), ' ' ORDER BY slot)) AS architecture
    FROM weights LEFT JOIN tensor_defects(1e-2) USING (model, kind, slot) GROUP BY model
),
-- merit is the metric turned so that more is better.
scored AS MATERIALIZED (
    SELECT *, value * direction AS merit FROM scores JOIN condition USING (model) WHERE value IS NOT NULL
),
-- The best of all leads those that are tied with it, then the best of those that are not leads the next, and so on.
leaders AS (
    SELECT unnest(list_reduce(
        list_transform(list(DISTINCT merit ORDER BY merit DESC), lambda merit: [merit]),
        lambda found, next: CASE
            WHEN next[1] < found[-1] - coalesce(getvariable('tolerance'), 0.0) * (1 + 1e-9) 
                THEN list_concat(found, next)
            ELSE found END)) AS lead
    FROM scored
),
tied AS (
    SELECT *, (SELECT min(lead) FROM leaders WHERE lead >= merit) AS lead FROM scored
),
placed AS (
    SELECT
        *,
        rank() OVER (ORDER BY lead DESC) AS place,
        row_number() OVER in_order AS line,
        {
            'model': model, 'value': value, 'lead': lead, 'defects': defects, 'zero_units': zero_units, 'tails': tails
        } AS me
    FROM tied
    WINDOW
        in_order AS (ORDER BY lead DESC, defects, zero_units NULLS LAST, tails NULLS LAST, merit DESC, model)
),
-- Each is compared with the one before it; the first with the second.
compared AS (
    SELECT
        *,
        CASE WHEN line = 1 THEN lead(me) OVER by_line ELSE lag(me) OVER by_line END AS other,
        max(merit) OVER () - merit AS behind,
        max(architecture) OVER () <> min(architecture) OVER () AS mixed
    FROM placed
    WINDOW by_line AS (ORDER BY line)
),
weighed AS (
    SELECT
        *,
        CASE
            WHEN defects <> other.defects
                THEN format('{} with defects against {}', counts(defects, 'tensor'), other.defects)
            WHEN zero_units IS DISTINCT FROM other.zero_units
                THEN format('{} against {}', coalesce(counts(zero_units, 'zero unit'), 'zero units unknown'),
                    coalesce(other.zero_units::VARCHAR, 'unknown'))
            WHEN tails IS DISTINCT FROM other.tails
                THEN format('largest excess kurtosis {} against {}', coalesce(format('{:.3g}', tails), 'unknown'),
                    coalesce(format('{:.3g}', other.tails), 'unknown'))
            WHEN value <> other.value THEN format('{} {:.4g} against {:.4g}', metric, value, other.value)
            ELSE 'nothing tells them apart'
        END AS evidence
    FROM compared
),
explained AS (
    SELECT *, concat_ws('; ',
        CASE
            WHEN line = 1 AND merit = lead THEN format('best {} {:.4g}', metric, value)
            WHEN line = 1 THEN format('{} {:.4g}, within the tolerance of the best', metric, value)
        END,
        CASE
            WHEN other IS NULL THEN 'no other model has this metric'
            WHEN lead <> other.lead THEN format(
                CASE WHEN line = 1 THEN 'ahead of {} by {:.4g}' ELSE 'behind {} by {:.4g}' END,
                other.model, abs(value - other.value))
            WHEN value = other.value THEN format('the same as {}: {}', other.model, evidence)
            ELSE format('tied with {}, {:.4g} apart: {}', other.model, abs(value - other.value), evidence)
        END,
        note,
        CASE WHEN line = 1 AND mixed THEN 'several architectures: only if measured on the same data' END,
        CASE WHEN line = 1 AND NOT is_validation(metric)
            THEN format('{} is not a validation metric, by its name', metric) END
    ) AS reason
    FROM weighed
)
SELECT place, model, metric, value, behind, parameters, zero_units, defects, reason
FROM (
    SELECT * FROM explained
    UNION ALL BY NAME
    SELECT
        coalesce(model, named_as) AS model, model AS known, metric, parameters, zero_units, defects, problem AS reason
    FROM scores LEFT JOIN condition USING (model)
    WHERE value IS NULL
)
ORDER BY line NULLS LAST, known NULLS LAST, model;
