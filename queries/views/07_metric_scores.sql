-- The chosen metric of each model.

-- The chosen metric of every model in the table, and the names in the user's file that mean no model. direction is 1
-- where more is better, else -1; value is NULL where there is none, and `problem` says why.
CREATE OR REPLACE MACRO model_scores(metrics, chosen_metric, chosen_direction, chosen_run, chosen_shift, chosen_epoch)
AS TABLE
WITH asked AS (
    SELECT coalesce(
        CASE WHEN chosen_metric <> '' THEN any_value(metric) FILTER (metric = metric_word(chosen_metric))
            -- val_loss, val_accuracy, then any other in alphabetical order.
            ELSE arg_min(metric, list_position(['val_loss', 'val_accuracy', 'val_acc', metric], metric) || metric)
                FILTER (is_validation(metric) AND metric_direction(metric) IS NOT NULL) END,
        error(concat(
            CASE WHEN count(*) = 0 THEN 'the metrics are empty'
                WHEN chosen_metric = '' THEN 'no metric was measured on validation data, as far as names tell'
                ELSE 'the metrics have no ' || chosen_metric END,
            '; choose with the parameter metric: ', string_agg(DISTINCT metric, ', ' ORDER BY metric)))) AS metric
    FROM metric_entries(metrics)
),
choice AS MATERIALIZED (
    SELECT metric, CASE
        WHEN chosen_direction = 'higher' THEN 1
        WHEN chosen_direction = 'lower' THEN -1
        WHEN chosen_direction <> '' THEN error(concat(metric, ': its direction is higher or lower, not ', chosen_direction))
        ELSE coalesce(metric_direction(metric), error(concat(
            'the name ', metric,
            ' does not tell whether more is better: set the parameter direction to higher or lower')))
        END AS direction
    FROM asked
),
names AS MATERIALIZED (FROM metric_names(metrics, chosen_run)),
models AS MATERIALIZED (
    SELECT model, any_value(run) AS run, any_value(step) AS step FROM weights GROUP BY model
),
cells AS MATERIALIZED (
    SELECT
        named_as, epoch, cell, direction,
        CASE WHEN ends_with(cell, '%') THEN try_cast(trim(rtrim(pointed, '%')) AS DOUBLE) / 100
            ELSE try_cast(pointed AS DOUBLE) END AS number
    FROM (
        -- A decimal comma, unless all of the metric's may be commas between thousands.
        SELECT *, CASE
            WHEN bool_or(regexp_full_match(cell, '[+-]?\d+,\d+([eE][+-]?\d+)? ?%?')
                    AND NOT regexp_full_match(cell, '[+-]?[1-9]\d{0,2}(,\d{3})+ ?%?')) OVER (PARTITION BY metric)
                THEN replace(cell, ',', '.')
            ELSE cell END AS pointed
        FROM metric_entries(metrics)
    ) JOIN choice USING (metric)
    -- Some loggers write a row for training and one for validation, each with the other's cells empty.
    QUALIFY cell <> '' OR count(nullif(cell, '')) OVER (PARTITION BY named_as, epoch) = 0
),
-- Keras' CSVLogger counts epochs from 0, its ModelCheckpoint from 1.
shifts AS (
    SELECT
        names.run, cells.named_as, min(epoch) AS first_epoch, max(epoch) AS last_epoch,
        coalesce(chosen_shift, CASE WHEN min(epoch) = 0 AND min(step) >= 1 THEN 1 ELSE 0 END) AS shift
    FROM names
    JOIN cells ON cells.named_as IS NOT DISTINCT FROM names.named_as
    JOIN models USING (run)
    WHERE names.problem IS NULL
    GROUP BY names.run, cells.named_as
),
-- What the user's file says of each model, by its own name or by its run and epoch.
said AS (
    SELECT names.model, cells.*, NULL AS shift
    FROM names JOIN cells ON cells.named_as IS NOT DISTINCT FROM names.named_as
    WHERE names.model IS NOT NULL AND problem IS NULL
    UNION ALL
    SELECT models.model, cells.*, shift
    FROM shifts
    JOIN cells ON cells.named_as IS NOT DISTINCT FROM shifts.named_as
    JOIN models ON models.run = shifts.run AND models.step = epoch + shift
),
-- What is said by its own name goes before what is said of its run; of several epochs one is taken.
taken AS (
    SELECT
        *, count(DISTINCT epoch) OVER one_way AS epochs,
        count(DISTINCT coalesce(number::VARCHAR, cell)) OVER one_epoch AS versions, count(*) OVER one_epoch AS entries
    FROM said
    WINDOW one_way AS (PARTITION BY model, shift IS NULL), one_epoch AS (PARTITION BY model, shift IS NULL, epoch)
    QUALIFY rank() OVER (PARTITION BY model ORDER BY
        shift IS NOT NULL,
        CASE WHEN chosen_epoch = 'best' THEN -direction * CASE WHEN isfinite(number) THEN number END END NULLS LAST,
        epoch DESC NULLS LAST) = 1
),
scores AS (
    SELECT
        model, any_value(named_as) AS named_as, any_value(number) AS number, any_value(cell) AS cell,
        any_value(epoch) AS epoch, any_value(epochs) AS epochs, any_value(shift) AS shift,
        max(versions) AS versions, max(entries) AS entries
    FROM taken GROUP BY model
)
SELECT
    models.model, coalesce(scores.named_as, names.named_as) AS named_as, metric, direction,
    CASE WHEN versions = 1 AND isfinite(number) THEN number END AS value,
    scores.epoch,
    CASE
        WHEN scores.shift <> 0 THEN concat('epoch ', scores.epoch, ' of the metrics')
        WHEN epochs > 1 AND scores.shift IS NULL THEN concat('of its ', chosen_epoch, ' epoch, ', scores.epoch)
    END AS note,
    CASE
        WHEN versions > 1 THEN concat('the metrics have ', entries, ' rows for it, with different ', metric)
        WHEN isfinite(number) THEN NULL
        WHEN isnan(number) THEN concat('its ', metric, ' is NaN')
        WHEN number IS NOT NULL THEN concat('its ', metric, ' is infinite')
        WHEN cell = '' THEN concat('its ', metric, ' is empty in the metrics')
        WHEN cell IS NOT NULL THEN concat('its ', metric, ' is not a number: ', cell)
        WHEN names.problem IS NOT NULL THEN names.problem
        WHEN names.named_as IS NOT NULL THEN concat('the metrics give no ', metric, ' for it')
        WHEN shifts.run IS NOT NULL THEN concat(
            'its run''s metrics have epochs ', first_epoch, ' to ', last_epoch,
            CASE WHEN shifts.shift <> 0
                THEN concat(', that is steps ', first_epoch + shifts.shift, ' to ', last_epoch + shifts.shift)
                ELSE '' END,
            '; this is step ', models.step)
        ELSE 'the metrics do not name it'
    END AS problem
FROM models CROSS JOIN choice
LEFT JOIN scores ON scores.model = models.model
LEFT JOIN (
    SELECT model, min(named_as) AS named_as, min(problem) AS problem FROM names WHERE model IS NOT NULL GROUP BY model
) AS names ON names.model = models.model
LEFT JOIN (
    SELECT run, min(shift) AS shift, min(first_epoch) AS first_epoch, max(last_epoch) AS last_epoch
    FROM shifts GROUP BY run
) AS shifts ON shifts.run = models.run
UNION ALL
SELECT NULL, named_as, metric, direction, NULL, NULL, NULL, any_value(problem)
FROM names CROSS JOIN choice
WHERE problem IS NOT NULL
GROUP BY named_as, metric, direction;

-- The models whose metric may be held against their weights, and why the others may not: one architecture, and of a run
-- only the last checkpoint, since checkpoints of one run are not independent observations.
CREATE OR REPLACE MACRO comparable_scores(scores) AS TABLE
WITH scored AS (
    SELECT model, any_value(metric) AS metric, any_value(direction) AS direction, any_value(value) AS value
    FROM query_table(scores) WHERE value IS NOT NULL GROUP BY model
),
described AS (
    SELECT
        model, any_value(run) AS run, any_value(step) AS step,
        md5(string_agg(concat(slot, canonical_shape::VARCHAR), ' ' ORDER BY slot)) AS architecture
    FROM weights WHERE model IN (SELECT model FROM scored) GROUP BY model
),
judged AS (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY run, CASE WHEN run IS NULL THEN model END ORDER BY step DESC, model) = 1 AS last
    FROM scored JOIN described USING (model)
),
chosen AS (
    SELECT architecture FROM judged WHERE last GROUP BY architecture ORDER BY count(*) DESC, min(model) LIMIT 1
)
SELECT
    model, metric, direction, value,
    CASE WHEN NOT last THEN 'earlier checkpoint'
        WHEN architecture NOT IN (FROM chosen) THEN 'another architecture' END AS left_out
FROM judged;
