-- Metrics of models as the user wrote them down, and which models their names mean.

-- Paths as they are compared: '/' between the parts, nothing before the first.
CREATE OR REPLACE MACRO plain_path(name) AS regexp_replace(replace(name, '\', '/'), '^(\./)+', '');

CREATE OR REPLACE MACRO without_suffix(name) AS regexp_replace(name, '(\.weights)?\.[A-Za-z][A-Za-z0-9]{0,11}$', '');

CREATE OR REPLACE MACRO ends_path(long, short) AS ends_with('/' || long, '/' || short);

-- A name as it is compared: whole, without suffix, and with case, separators and zeros before a number left aside, so
-- that 'Fold 1' is fold_01.
CREATE OR REPLACE MACRO name_parts(name) AS {
    'whole': plain_path(name),
    'stem': without_suffix(plain_path(name)),
    'loose': regexp_replace(regexp_replace(
        metric_word(without_suffix(plain_path(name))), '([a-z])(\d)', '\1_\2', 'g'), '(^|_)0+(\d)', '\1\2', 'g')
};

-- How surely a text of the user's file means the model or run of that name: 1 is surest, NULL is not at all.
CREATE OR REPLACE MACRO name_level(text, name) AS CASE
    WHEN text.whole = name.whole THEN 1
    WHEN text.stem = name.whole OR text.whole = name.stem THEN 2
    WHEN ends_path(text.whole, name.whole) OR ends_path(name.whole, text.whole)
        OR ends_path(text.stem, name.whole) OR ends_path(name.whole, text.stem)
        OR ends_path(name.stem, text.whole) THEN 3
    WHEN text.loose = name.loose THEN 4
    WHEN regexp_matches(text.loose, '^(fold|seed|trial)_\d+$') AND ends_with(name.loose, '_' || text.loose) THEN 5
END;

-- The user's file, wide or long, as rows of (entry, named_as, epoch, metric, cell).
-- named_as is NULL where no column names a model, as in the file of Keras' CSVLogger.
CREATE OR REPLACE MACRO metric_entries(metrics) AS TABLE
WITH cells AS (
    SELECT entry, metric_word(name) AS word, trim(cell) AS cell
    FROM (
        UNPIVOT (SELECT row_number() OVER () AS entry, coalesce(COLUMNS(*)::VARCHAR, '') FROM query_table(metrics))
        ON COLUMNS(* EXCLUDE (entry)) INTO NAME name VALUE cell
    )
),
-- Words that a column of models may go by, best first; the last ones are an index of pandas that has no name.
naming AS (
    SELECT word, list_position([
        'model', 'model_name', 'model_file', 'model_path', 'name', 'checkpoint', 'ckpt', 'file', 'filename',
        'file_name', 'path', 'filepath', 'file_path', 'source', 'weights', 'run', 'run_name', 'experiment',
        'fold', 'seed', 'trial', 'column0', 'unnamed_0', 'index'], word) AS place
    FROM cells GROUP BY word
    HAVING place <= 21 OR bool_or(try_cast(cell AS DOUBLE) IS NULL)
),
roles AS (
    SELECT
        (SELECT arg_min(word, place) FROM naming) AS model_word,
        arg_min(word, word) FILTER (word IN ('epoch', 'epochs', 'step', 'global_step', 'iteration')) AS epoch_word,
        min(word) FILTER (word IN ('metric', 'metric_name')) AS metric_word,
        min(word) FILTER (word IN ('value', 'metric_value')) AS value_word
    FROM cells
),
entries AS (
    SELECT
        entry,
        -- The number of a fold or seed alone is not a name.
        any_value(CASE WHEN word IN ('fold', 'seed', 'trial') AND try_cast(cell AS BIGINT) IS NOT NULL
            THEN word || '_' || cell ELSE nullif(cell, '') END) FILTER (word = model_word) AS named_as,
        any_value(try_cast(try_cast(cell AS DOUBLE) AS BIGINT)) FILTER (word = epoch_word) AS epoch,
        any_value(metric_word(cell)) FILTER (word = metric_word) AS metric
    FROM cells CROSS JOIN roles
    GROUP BY entry
),
long AS (
    SELECT entry, named_as, epoch, coalesce(entries.metric, word) AS metric, cell
    FROM cells JOIN entries USING (entry) CROSS JOIN roles
    WHERE CASE WHEN metric_word IS NOT NULL AND value_word IS NOT NULL THEN word = value_word
        ELSE word NOT IN (coalesce(model_word, ''), coalesce(epoch_word, ''), '', 'column0', 'unnamed_0', 'index') END
),
-- A cell may be a list, an epoch each: Keras' History.history written as JSON.
listed AS (
    SELECT
        *,
        cell LIKE '[%]' AS several,
        CASE WHEN cell LIKE '[%]' THEN try_cast(cell AS VARCHAR[]) ELSE [cell] END AS items
    FROM long
)
SELECT
    entry, named_as,
    CASE WHEN several THEN generate_subscripts(items, 1) - 1 ELSE epoch END AS epoch,
    metric, unnest(items) AS cell
FROM listed;

-- The models and runs that the names in the user's file mean. Where a name fits several equally well, or two names fit
-- one model, nothing is guessed: `problem` says so. named_as is NULL for a file that names no models.
CREATE OR REPLACE MACRO metric_names(metrics, chosen_run) AS TABLE
WITH texts AS MATERIALIZED (
    SELECT named_as, name_parts(named_as) AS parts
    FROM metric_entries(metrics) WHERE named_as IS NOT NULL GROUP BY named_as
),
models AS MATERIALIZED (
    SELECT model, name_parts(model) AS parts, any_value(source) AS source, any_value(run) AS run
    FROM weights GROUP BY model
),
-- A run is meant by its own name or by its folder's.
runs AS MATERIALIZED (
    SELECT run, name_parts(run) AS parts, name_parts(regexp_replace(run, '/[^/]*$', '')) AS folder
    FROM models WHERE run IS NOT NULL GROUP BY run
),
-- Most names are the models' own, or their files': those need not be held against every other.
plain AS MATERIALIZED (
    SELECT named_as, model, name_level(texts.parts, models.parts) AS level
    FROM (SELECT *, unnest(list_distinct([parts.whole, parts.stem])) AS key FROM texts) AS texts
    JOIN models ON models.parts.whole = key
),
fits AS (
    SELECT named_as, model, NULL AS run, level
    FROM plain
    UNION ALL
    SELECT
        named_as, model, NULL,
        CASE WHEN source = named_as THEN 1 ELSE name_level(texts.parts, models.parts) END
    FROM texts CROSS JOIN models
    WHERE named_as NOT IN (SELECT named_as FROM plain)
    UNION ALL
    SELECT named_as, NULL, run, least(name_level(texts.parts, runs.parts), name_level(texts.parts, folder)) + 0.5
    FROM texts CROSS JOIN runs
),
best AS MATERIALIZED (
    SELECT * FROM fits WHERE level IS NOT NULL QUALIFY rank() OVER (PARTITION BY named_as ORDER BY level) = 1
),
judged AS (
    SELECT
        *,
        count(*) OVER by_name AS choices,
        min(coalesce(model, run)) OVER by_name AS first_choice, max(coalesce(model, run)) OVER by_name AS last_choice,
        count(*) OVER (PARTITION BY model, run, level) AS rivals,
        rank() OVER (PARTITION BY model, run ORDER BY level) AS place,
        min(named_as) OVER (PARTITION BY model, run) AS first_name,
        max(named_as) OVER (PARTITION BY model, run) AS last_name
    FROM best
    WINDOW by_name AS (PARTITION BY named_as)
),
-- The file of one run names no model: it is the run asked for, or the only one, or the only model of the table.
unnamed AS (
    SELECT
        CASE WHEN count(*) = 0 AND chosen_run = ''
            THEN (SELECT any_value(model) FROM models HAVING count(*) = 1) END AS model,
        any_value(run) FILTER (run = chosen_run OR chosen_run = '') AS run,
        CASE WHEN count(*) = 0 THEN 'none' ELSE string_agg(run, ', ' ORDER BY run) END AS all_runs,
        count(*) FILTER (run = chosen_run OR chosen_run = '') AS choices
    FROM runs
)
SELECT
    named_as, model, run,
    CASE
        WHEN choices > 1 THEN concat('''', named_as, ''' in the metrics may be ', first_choice, ' or ', last_choice,
            CASE WHEN choices > 2 THEN concat(' or ', choices - 2, ' more') ELSE '' END)
        WHEN place > 1 OR rivals > 1 THEN concat('the metrics name it twice: ', first_name, ' and ', last_name)
    END AS problem
FROM judged
UNION ALL
SELECT
    NULL,
    CASE WHEN choices = 1 OR model IS NOT NULL THEN model ELSE error(concat(
        'the metrics have no column that names models (model, name, file, ...), and it is not clear which run they ',
        'belong to: choose it with the parameter run; runs of the table: ', all_runs)) END,
    run, NULL
FROM unnamed WHERE EXISTS (FROM metric_entries(metrics) WHERE named_as IS NULL)
UNION ALL
SELECT named_as, NULL, NULL, 'named in the metrics, but no model of the table has this name'
FROM texts WHERE named_as NOT IN (SELECT named_as FROM best);
