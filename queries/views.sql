-- The views and macros that the queries read.
--
-- wexport makes them in every session. In the plain duckdb CLI, from a folder that holds weights.parquet:
--
--   duckdb -init queries/views.sql -f queries/models.sql
--
-- For a table of another name, and for parameters, set variables first: -cmd "SET VARIABLE model = 'cnn_*'".
-- The table is the variable weights_parquet, a list of files or patterns.

-- Every tensor, whatever its kind.
CREATE OR REPLACE VIEW tensors AS
FROM read_parquet(coalesce(getvariable('weights_parquet'), ['weights.parquet']));

-- The tensors that are weights, and the raw arrays that may be; no optimizer state. With the variable `kinds` set to
-- ['activation'] or ['gradient'], what is asked of weights is asked of the outputs or gradients of models that were run.
CREATE OR REPLACE VIEW weights AS
FROM tensors WHERE list_contains(coalesce(getvariable('kinds'), ['weight', 'array']), kind);

-- A row a gate. Where one tensor is one gate (Keras 1), its own figures.
CREATE OR REPLACE VIEW gates AS
WITH listed AS (
    SELECT model, run, step, kind, slot, layer, layer_class, role, direction, unnest(gates) AS figures
    FROM tensors WHERE gates IS NOT NULL
)
SELECT model, run, step, kind, slot, layer, layer_class, role, direction, figures.*
FROM listed
UNION ALL BY NAME
SELECT
    model, run, step, kind, slot, layer, layer_class, role, direction, gate,
    value_count, nan_count, inf_count, zero_count, near_zero_count,
    q01, q05, q25, q50, q75, q95, q99, skewness, kurtosis, l1_norm, abs_mean, abs_max, min, max, l2_norm, mean, std,
    histogram
FROM tensors WHERE gate IS NOT NULL AND gates IS NULL;

-- A row an output unit: filter, neuron, hidden unit. Units count from 0.
CREATE OR REPLACE VIEW units AS
WITH listed AS (
    SELECT
        model, run, step, kind, slot, layer, layer_class, role,
        unnest(range(len(units))) AS unit, unnest(units) AS figures
    FROM tensors WHERE units IS NOT NULL
)
SELECT model, run, step, kind, slot, layer, layer_class, role, unit, figures.*
FROM listed;

-- A row a bin. The zero bin has lower = upper = 0.
CREATE OR REPLACE VIEW histogram AS
SELECT
    model, run, step, kind, slot, layer, layer_class, role,
    unnest(histogram.lower) AS lower, unnest(histogram.upper) AS upper, unnest(histogram.count) AS "count"
FROM tensors WHERE histogram IS NOT NULL;

-- A row a kept value: its flat position in the canonical layout, and the value.
CREATE OR REPLACE VIEW sample AS
SELECT
    model, run, step, kind, slot, layer, layer_class, role,
    unnest(sample.index) AS index, unnest(sample.value) AS value
FROM tensors WHERE sample IS NOT NULL;

-- Whether a name is asked for: by itself, or by a pattern with * and ?.
CREATE OR REPLACE MACRO asked_for(name, pattern) AS name = pattern OR name GLOB pattern;

-- Roles that are counted or averaged while training, not trained.
CREATE OR REPLACE MACRO is_statistic(role) AS role IN (
    'moving_mean', 'moving_variance', 'moving_stddev', 'renorm_mean', 'renorm_stddev', 'mean', 'variance', 'count',
    'vector_u'
);

-- Inventory: shapes, layers and edges of the histograms.

-- A shape as text, such as 3x3x8x16.
CREATE OR REPLACE MACRO shape_text(shape) AS
    CASE WHEN len(shape) = 0 THEN 'scalar' ELSE array_to_string(shape, 'x') END;

-- The layer that a slot belongs to: the slot without its last part, which is the role.
CREATE OR REPLACE MACRO layer_of_slot(slot) AS regexp_replace(slot, '/[^/]*$', '');

-- The edge of the histograms' bins that is nearest to a magnitude: 2^k (1 + j/8), at least 2^-126.
CREATE OR REPLACE MACRO histogram_edge(magnitude) AS
    CASE WHEN magnitude > 0 AND magnitude < 'infinity'::DOUBLE
        THEN greatest(
            pow(2, floor(log2(magnitude))) * (1 + round((magnitude / pow(2, floor(log2(magnitude))) - 1) * 8) / 8),
            pow(2, -126))
        ELSE error('a threshold is a positive number') END;

-- How many values of a histogram are nearer to zero than one of its edges.
CREATE OR REPLACE MACRO count_below(bins, edge) AS
    CASE WHEN bins IS NOT NULL
        THEN coalesce(
            list_sum([c for c, i in bins.count if greatest(abs(bins.lower[i]), abs(bins.upper[i])) <= edge]), 0)
    END;

-- Metrics of models, as the user wrote them down, for `rank` and `predictors` -----------------------------------------

-- A column's name as words: 'Val Accuracy (%)' is val_accuracy.
CREATE OR REPLACE MACRO metric_word(name) AS trim(lower(regexp_replace(name, '[^\pL\pN]+', '_', 'g')), '_');

-- The same without the part of the data that it was measured on: val_accuracy is accuracy.
CREATE OR REPLACE MACRO metric_stem(word) AS regexp_replace(regexp_replace(
    word, '^(val|valid|validation|eval|dev|test|train|training)_', ''), '_(val|valid|validation|test|train)$', '');

-- Whether it was measured on data that the model was not fitted to, and that is not kept for the last judgement.
CREATE OR REPLACE MACRO is_validation(word)
AS regexp_matches(word, '^(val|valid|validation|eval|dev)_|_(val|valid|validation)$');

-- 1 where more is better, -1 where less is, NULL where the name does not tell. scikit-learn's neg_ turns it round.
CREATE OR REPLACE MACRO metric_direction(word) AS CASE
    WHEN regexp_matches(metric_stem(word), '^neg_.*(loss|error|deviance|brier_score)$') THEN 1
    WHEN regexp_matches(metric_stem(word), '(^|_)(log_likelihood|elbo)$') THEN 1
    WHEN regexp_matches(metric_stem(word), '(^|_)(' || concat_ws('|',
        'loss', 'error', 'err', 'mse', 'rmse', 'mae', 'mape', 'smape', 'msle', 'rmsle', 'nll', 'log_loss', 'logloss',
        'cross_?entropy', 'perplexity', 'ppl', 'hinge', 'logcosh', 'deviance', 'kl_divergence', 'kld', 'brier(_score)?',
        'wer', 'cer', 'fid', 'ece', 'eer', 'false_(positive|negative)s?(_rate)?') || ')(_\d+)?$') THEN -1
    WHEN regexp_matches(metric_stem(word), '(^|_)(' || concat_ws('|',
        'accuracy', 'acc', 'auc', 'auroc', 'auprc', 'precision', 'recall', 'sensitivity', 'specificity', 'map', 'mrr',
        'ndcg', 'f\d+', 'f\d*_?(score|measure|macro|micro|weighted)', 'dice(_score|_coef|_coefficient)?',
        'io_?u(_score)?', 'jaccard(_score|_index)?', 'r2', 'r2_score', 'r_squared', 'mcc', 'kappa', 'matthews_corrcoef',
        'psnr', 'ssim', 'bleu', 'rouge(_?[12l])?', 'meteor', 'true_(positive|negative)s?(_rate)?') || ')(_\d+)?$') THEN 1
END;

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
        -- The number of a fold or seed alone is no name.
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
        CASE WHEN ends_with(cell, '%') THEN try_cast(trim(rtrim(cell, '%')) AS DOUBLE) / 100
            ELSE try_cast(cell AS DOUBLE) END AS number
    FROM metric_entries(metrics) JOIN choice USING (metric)
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
        WHEN cell IS NOT NULL THEN concat('its ', metric, ' is no number: ', cell)
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
-- only the last checkpoint, since checkpoints of one run are no independent observations.
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

-- The names of figures that can be tried, or an error that names the others.
CREATE OR REPLACE MACRO known_figures(names) AS CASE
    WHEN len(list_filter(names, lambda name: NOT list_contains([
        'mean', 'std', 'l1_norm', 'l2_norm', 'abs_mean', 'abs_max', 'min', 'max', 'skewness', 'kurtosis',
        'q01', 'q05', 'q25', 'q50', 'q75', 'q95', 'q99', 'zero_fraction', 'near_zero_fraction', 'zero_unit_count',
        'zero_input_count'], name))) = 0 THEN names
    ELSE error('not all of these are figures that can be tried: ' || array_to_string(names, ', ')) END;

-- A row a figure of the weights, by slot, and for whole models with the slot '(all)'.
CREATE OR REPLACE MACRO weight_figures(models, statistics) AS TABLE
WITH chosen AS (
    SELECT * FROM weights WHERE model IN (SELECT model FROM query_table(models)) AND NOT is_statistic(role)
),
wide AS (
    SELECT
        model, slot, mean, std, l1_norm, l2_norm, abs_mean, abs_max, min, max, skewness, kurtosis,
        q01, q05, q25, q50, q75, q95, q99, zero_fraction, near_zero_fraction,
        zero_unit_count::DOUBLE AS zero_unit_count, zero_input_count::DOUBLE AS zero_input_count
    FROM chosen
    UNION ALL BY NAME
    SELECT
        model, '(all)' AS slot, sum(l1_norm) AS l1_norm, sqrt(sum(l2_norm * l2_norm)) AS l2_norm,
        max(abs_max) AS abs_max, min(min) AS min, max(max) AS max,
        sum(zero_count) / nullif(sum(value_count), 0) AS zero_fraction,
        sum(near_zero_count) / nullif(sum(value_count), 0) AS near_zero_fraction,
        sum(zero_unit_count)::DOUBLE AS zero_unit_count, sum(zero_input_count)::DOUBLE AS zero_input_count
    FROM chosen GROUP BY model
)
SELECT model, slot, statistic, figure
FROM (UNPIVOT wide ON COLUMNS(* EXCLUDE (model, slot)) INTO NAME statistic VALUE figure)
WHERE list_contains(known_figures(statistics), statistic);

-- Health: what is wrong with a tensor on its own.

-- Roles that hold the bulk of a layer's weights. Biases, offsets and scales may rightly be zero or constant.
CREATE OR REPLACE MACRO is_kernel(role) AS role IN (
    'kernel', 'recurrent_kernel', 'depthwise_kernel', 'pointwise_kernel', 'embeddings'
);

-- The L2 norm below which a unit has collapsed beside its siblings: a hundredth of the norm that nine tenths of the live
-- ones stay under. Live is what has more than a hundredth of the largest norm, so that a layer of which most has
-- collapsed is judged by what is left. The fewer weights a unit has, the oftener chance makes it small (about
-- norm ^ weights), so that the share shrinks until it would hit a sound tensor once in a thousand times.
-- units: the column; value_count: of the tensor.
CREATE OR REPLACE MACRO collapse_norm(units, value_count, ratio) AS
    least(ratio, (1e-3 / len(units)) ^ (len(units) / value_count)) * list_aggregate(
        [unit.l2_norm for unit in units
            if unit.l2_norm > 0.01 * list_max([each.l2_norm for each in units if isfinite(each.l2_norm)])],
        'quantile_disc', 0.9);

-- Whether groups (units, or inputs) whose weights are all near zero are more than chance makes: a hundredth of a group
-- expected, from the near-zero share of the other weights or the density at zero of a normal distribution of that std.
CREATE OR REPLACE MACRO more_than_chance(zero_groups, groups, value_count, near_zero_count, std) AS
    zero_groups > 0 AND groups * least(1, greatest(
        (near_zero_count - zero_groups * value_count / groups)
            / nullif(value_count - zero_groups * value_count / groups, 0),
        1 / 1024 / nullif(std, 0)
    )) ^ (value_count / groups) < 0.01;

-- How many inputs a kernel has. The canonical layout is (..., inputs, outputs), and (..., outputs, inputs) for a
-- transposed convolution.
CREATE OR REPLACE MACRO input_count(layer_class, role, canonical_shape) AS
    CASE WHEN is_kernel(role) AND len(canonical_shape) >= 2
        THEN canonical_shape[CASE WHEN layer_class LIKE '%Transpose' THEN -1 ELSE -2 END] END;

-- Whether a tensor holds what a layer multiplies by: a kernel, or a table of numbers whose role nobody told.
CREATE OR REPLACE MACRO may_be_kernel(role, canonical_shape, dtype) AS is_kernel(role)
    OR role = 'unknown' AND len(canonical_shape) >= 2 AND (starts_with(dtype, 'float') OR dtype = 'bfloat16');

-- Whether the norms of the units are all one: of a transform that somebody worked out (Fourier, wavelets), or of units
-- that are copies of each other. Training leaves no two norms equal.
CREATE OR REPLACE MACRO one_norm(units) AS coalesce(
    list_aggregate([unit.l2_norm for unit in units if unit.l2_norm > 0], 'quantile_disc', 0.75)
    <= 1.001 * list_aggregate([unit.l2_norm for unit in units if unit.l2_norm > 0], 'quantile_disc', 0.25), false);

-- How many units are copies of others, of those that hold anything: equal in norm and in largest value, to five digits.
CREATE OR REPLACE MACRO twin_count(units) AS
    len([unit for unit in units if unit.l2_norm > 0]) - list_unique([
        {'norm': printf('%.4e', unit.l2_norm), 'largest': printf('%.4e', unit.abs_max)}
        for unit in units if unit.l2_norm > 0]);

-- Whether the values that one input has for all units are equal, as far as the sample tells.
CREATE OR REPLACE MACRO same_for_all_units(sample, canonical_shape, abs_max) AS
    list_unique([place // canonical_shape[-1] for place in sample.index])
    = list_unique([{'input': sample.index[i] // canonical_shape[-1], 'value': round(value / abs_max, 4)}
        for value, i in sample.value]);

-- Whether every unit has the same profile but for a factor: norm over largest value are then all one.
CREATE OR REPLACE MACRO one_profile(units) AS coalesce(
    list_max([unit.l2_norm / unit.abs_max for unit in units if unit.abs_max > 0])
    <= 1.0001 * list_min([unit.l2_norm / unit.abs_max for unit in units if unit.abs_max > 0]), false);

-- Pearson's correlation of the values with their places in the canonical layout, of a kernel that begins with one half
-- of its values and ends with the other; NULL of others, which are nearly all.
CREATE OR REPLACE MACRO order_correlation(sample, q50) AS
    CASE WHEN len(sample.value) >= 64 AND (
            list_max(sample.value[1:8]) < q50 AND list_min(sample.value[-8:]) > q50
            OR list_min(sample.value[1:8]) > q50 AND list_max(sample.value[-8:]) < q50)
        THEN list_cosine_similarity(
            [place - list_avg(sample.index) for place in sample.index],
            [value - list_avg(sample.value) for value in sample.value]) END;

-- How many values at one end of a list are zeros.
CREATE OR REPLACE MACRO leading_zeros(list_) AS
    coalesce(list_position([value <> 0 for value in list_], true) - 1, len(list_));

-- How large a share of the sample is zeros at one end, a tenth at least, in a tensor that has next to none elsewhere;
-- else NULL.
CREATE OR REPLACE MACRO zero_end(sample, zero_fraction) AS
    CASE WHEN zero_fraction >= 0.1 AND zero_fraction < 1 AND len(sample.value) >= 64
        AND greatest(leading_zeros(sample.value), leading_zeros(list_reverse(sample.value))) >= greatest(
            0.1 * len(sample.value), 0.99 * len([value for value in sample.value if value = 0]))
        THEN greatest(leading_zeros(sample.value), leading_zeros(list_reverse(sample.value))) / len(sample.value) END;

-- The tensors that are not sound by themselves, and their defects as words. All but NaN and Inf are for kernels alone,
-- or for tables of numbers that may be kernels. collapse_ratio: see collapse_norm.
--   nan, inf           values that are not finite
--   zero_tensor        every value is zero
--   near_zero_tensor   every value is below 2^-10 in magnitude, or no unit has a norm of 0.01
--   constant           every value is the same, and not zero
--   zero_units         units whose incoming weights are all zero; all near zero where `units` is NULL
--   zero_block         zeros from some place on to an end of the tensor, and none elsewhere
--   collapsed_units    units whose norm is next to nothing beside the others', without being zero
--   twin_units         units that are copies of others: a twentieth of all, and two
--   rank_one           the profile of every unit is the same but for a factor
--   ordered_kernel     the values stand in the order of their size
--   zero_inputs        inputs whose outgoing weights are all near zero
CREATE OR REPLACE MACRO tensor_defects(collapse_ratio) AS TABLE
SELECT model, kind, slot, list_filter([
    CASE WHEN nan_count > 0 THEN 'nan' END,
    CASE WHEN inf_count > 0 THEN 'inf' END,
    CASE WHEN may_be_kernel(role, canonical_shape, dtype) AND zero_count = value_count AND value_count > 0
        THEN 'zero_tensor' END,
    CASE WHEN is_kernel(role) AND zero_count < value_count AND value_count >= 4 AND (near_zero_count = value_count
            OR nan_count + inf_count = 0 AND role <> 'embeddings' AND unit_count > 1
                AND list_max([unit.l2_norm for unit in units]) < 0.01)
        THEN 'near_zero_tensor' END,
    CASE WHEN may_be_kernel(role, canonical_shape, dtype) AND std = 0 AND zero_count = 0 AND value_count >= 4
        THEN 'constant' END,
    CASE WHEN is_kernel(role) AND near_zero_count < value_count AND unit_count > 1 AND CASE
        WHEN units IS NULL THEN more_than_chance(zero_unit_count, unit_count, value_count, near_zero_count, std)
        ELSE list_max([unit.zero_fraction for unit in units]) = 1 END THEN 'zero_units' END,
    CASE WHEN is_kernel(role) AND zero_end(sample, zero_count / value_count) IS NOT NULL THEN 'zero_block' END,
    CASE WHEN is_kernel(role) AND near_zero_count < value_count AND unit_count > 1 AND nan_count + inf_count = 0
        AND list_min([unit.l2_norm for unit in units if unit.zero_fraction < 1])
            < collapse_norm(units, value_count, collapse_ratio) THEN 'collapsed_units' END,
    -- Few values, as of a quantised or a worked out kernel, make equal units by themselves.
    CASE WHEN is_kernel(role) AND std > 0 AND nan_count + inf_count = 0 AND unit_count > 2
        AND value_count >= 4 * unit_count AND twin_count(units) >= greatest(2, 0.05 * unit_count)
        AND list_unique(sample.value) > 16
        AND (NOT one_norm(units) OR same_for_all_units(sample, canonical_shape, abs_max)) THEN 'twin_units' END,
    CASE WHEN is_kernel(role) AND std > 0 AND nan_count + inf_count = 0 AND unit_count >= 4
        AND value_count >= 4 * unit_count AND one_profile(units) AND NOT one_norm(units)
        AND list_unique(sample.value) > 16 THEN 'rank_one' END,
    CASE WHEN is_kernel(role) AND std > 0 AND abs(order_correlation(sample, q50)) > 0.9 THEN 'ordered_kernel' END,
    CASE WHEN is_kernel(role) AND near_zero_count < value_count
        AND more_than_chance(zero_input_count, input_count(layer_class, role, canonical_shape), value_count,
            near_zero_count, std) THEN 'zero_inputs' END
], lambda word: word IS NOT NULL) AS defects
FROM weights
-- Most tensors show at a glance that nothing can be wrong.
WHERE (nan_count + inf_count > 0 OR may_be_kernel(role, canonical_shape, dtype)) AND len(defects) > 0;

-- Outputs of layers on given inputs: rows of kind 'activation', whose first axis counts the inputs.

-- The units, from 0, that give the same for every input: every value of a unit has its largest magnitude, and the sample
-- has no two signs of it. units, value_count, sample: the columns. Units are the last axes, so a place tells its unit.
CREATE OR REPLACE MACRO idle_units(units, value_count, sample) AS list_filter(range(len(units)), lambda unit:
    units[unit + 1].l2_norm >= units[unit + 1].abs_max * sqrt(value_count / len(units)) * (1 - 1e-6)
    AND value_count > len(units) AND (units[unit + 1].abs_max = 0 OR len(list_distinct([sign(value) for value in
        list_filter(sample.value, lambda value, place: sample.index[place] % len(units) = unit)])) <= 1));

-- Those that give zero for every input.
CREATE OR REPLACE MACRO dead_units(units) AS
    list_filter(range(len(units)), lambda unit: units[unit + 1].zero_fraction = 1);

-- The first few of a list of units, as text.
CREATE OR REPLACE MACRO unit_list(which) AS
    array_to_string(which[:8], ', ') || CASE WHEN len(which) > 8 THEN ', ...' ELSE '' END;

-- A number and its noun: 1 value, 12 values.
CREATE OR REPLACE MACRO counts(number, noun) AS number || ' ' || noun || CASE number WHEN 1 THEN '' ELSE 's' END;

-- A figure to three digits.
CREATE OR REPLACE MACRO figure_text(figure) AS printf('%.3g', figure::DOUBLE);

-- What the layer's config says of how a tensor begins, as JSON: an object with class_name and config, or a word.
CREATE OR REPLACE MACRO initializer(layer_config, layer_class, role) AS
    CASE WHEN json_valid(layer_config) THEN json_extract(layer_config, '$.' || CASE
        WHEN role = 'kernel' AND starts_with(layer_class, 'DepthwiseConv') THEN 'depthwise'
        WHEN role = 'recurrent_bias' THEN 'bias'
        WHEN role IN ('depthwise_kernel', 'pointwise_kernel', 'recurrent_kernel') THEN replace(role, '_kernel', '')
        ELSE role END || '_initializer') END;

-- Its class without case and underscores, such as glorotuniform.
CREATE OR REPLACE MACRO initializer_class(initializer) AS replace(lower(coalesce(
    json_extract_string(initializer, '$.class_name'), json_extract_string(initializer, '$'))), '_', '');

-- Closeness: two vectors x and y by the sums of a sample of pairs, with d = y - x; nearly equal ones lose no digits.
-- `sums` is a struct of n, x2 (sum of x^2), y2, xy, xd, d2, x4, x3d (sum of x^3 d), x2d2, xd3, d4 and d_max (largest |d|).
-- For a cosine, either vector is first divided by its largest magnitude, or that of a much shorter one would be lost.
-- `gap` is length_gap(sums), `distance` cosine_distance(sums, gap), as columns of a query beneath: what macros repeat
-- within each other grows with every level, and then to plan takes longer than to work it out.

-- A number that can only be negative by rounding; NULL stays NULL, which greatest() would not see. Not by CASE: what
-- stands twice in one is worked out twice, and these are nested.
CREATE OR REPLACE MACRO not_negative(number) AS (number + abs(number)) / 2;

-- Powers are written as products: pow() takes many times as long.
CREATE OR REPLACE MACRO fourth_power(number) AS number * number * (number * number);

-- |y| - |x|.
CREATE OR REPLACE MACRO length_gap(sums) AS (2 * sums.xd + sums.d2) / nullif(sqrt(sums.x2) + sqrt(sums.y2), 0);

-- How far d goes along the shorter of the two vectors. Of a y much shorter than x, nothing is left in d.
CREATE OR REPLACE MACRO along_shorter(sums) AS CASE
    WHEN sums.y2 >= sums.x2 THEN sums.xd / nullif(sqrt(sums.x2), 0)
    WHEN sums.y2 >= sums.x2 / 4 THEN (sums.xd + sums.d2) / nullif(sqrt(sums.y2), 0)
    ELSE (sums.y2 - sums.xy) / nullif(sqrt(sums.y2), 0) END;

-- 1 - cosine: half the square of the difference of x / |x| and y / |y|, from d, by the longer vector's square: a vector
-- of any length keeps its digits beside one of any other.
CREATE OR REPLACE MACRO cosine_distance(sums, gap) AS not_negative(
    (gap * gap - 2 * gap * along_shorter(sums) + sums.d2)
    / nullif(2 * greatest(sums.x2, sums.y2), 0));

-- What the sampling adds to a sum of squared contributions: n of N values without replacement.
CREATE OR REPLACE MACRO sampling_factor(n, value_count) AS
    not_negative(1 - n / value_count) * n / nullif(n - 1, 0);

-- Standard error of |d| / |x| (delta method). The largest contribution counts twice: where few values of many changed,
-- a sample would otherwise look surer than it is.
CREATE OR REPLACE MACRO relative_l2_se(sums, value_count) AS sqrt(not_negative(sampling_factor(sums.n, value_count) * (
        sums.d4 - 2 * sums.d2 / sums.x2 * sums.x2d2 + sums.d2 / sums.x2 * (sums.d2 / sums.x2) * sums.x4
        + fourth_power(sums.d_max))))
    / nullif(2 * sqrt(sums.d2) * sqrt(sums.x2), 0);

-- The same for a contribution a x^2 + b x d + c d^2.
CREATE OR REPLACE MACRO cosine_se_of(sums, factor, a, b, c) AS sqrt(not_negative(factor * (
    a * a * sums.x4 + 2 * a * b * sums.x3d + (b * b + 2 * a * c) * sums.x2d2 + 2 * b * c * sums.xd3
    + c * c * (sums.d4 + fourth_power(sums.d_max)))));

-- Standard error of the cosine in the same way.
CREATE OR REPLACE MACRO cosine_se(sums, value_count, distance, gap) AS cosine_se_of(
    sums, sampling_factor(sums.n, value_count),
    (distance * (1 / sums.x2 + 1 / sums.y2) - gap * gap / (sums.x2 * sums.y2)) / 2,
    distance / sums.y2 + gap / (sqrt(sums.x2) * sums.y2),
    (distance - 1) / (2 * sums.y2));

-- A tensor of a model as one number. Joined by it, pairs of tensors are found through the pair of models; by slot and
-- model, the planner may first pair every model with every other.
CREATE OR REPLACE MACRO tensor_id(model, kind, slot) AS hash(model, kind, slot);

-- Whether the tensors of a model stand in its own order. Files that sort by name, or hold no order, tell no index.
CREATE OR REPLACE MACRO has_order(layer_index) AS layer_index IS NOT NULL;

-- What tells that tensors hold the same values however they are stored: the values at fixed places of the canonical
-- layout. NULL for fewer than three distinct values, as they may be equal by chance.
CREATE OR REPLACE MACRO sample_print(canonical_shape, sample) AS
    CASE WHEN list_unique(sample.value) >= 3 THEN hash(canonical_shape, sample.value) END;

-- How alike every two of some models are: the SQL form of `similarity`, for few models.
CREATE OR REPLACE MACRO similarities(pattern, min_coverage) AS TABLE
WITH trained AS MATERIALIZED (
    SELECT
        tensor_id(model, kind, slot) AS id, model, kind, slot, role, canonical_shape AS shape,
        tensor_index, has_order(layer_index) AS ordered, value_count, content_hash, l2_norm,
        sample_print(canonical_shape, sample) AS content
    FROM weights
    WHERE asked_for(model, pattern) AND NOT is_statistic(role)
),
sizes AS (
    SELECT
        model, sum(value_count) AS parameters,
        CASE WHEN count(*) OVER () > 50 THEN error('similarity in SQL compares at most 50 models: choose by model') END
    FROM trained GROUP BY model
),
pairs AS (
    SELECT a.model AS model_a, b.model AS model_b, greatest(a.parameters, b.parameters) AS parameters
    FROM sizes AS a JOIN sizes AS b ON a.model < b.model
),
by_slot AS (
    SELECT model_a, model_b, a.id AS id_a, b.id AS id_b, 'slot' AS match_method
    FROM pairs
    JOIN trained AS a ON a.model = model_a
    JOIN trained AS b ON b.id = tensor_id(model_b, a.kind, a.slot)
    WHERE coalesce(b.shape = a.shape, false)
),
rest AS (
    SELECT
        *, row_number() OVER (PARTITION BY model_a, model_b, side, role, shape ORDER BY tensor_index, slot) AS number,
        count(*) OVER (PARTITION BY model_a, model_b, side, role, shape) AS number_of,
        bool_and(ordered) OVER (PARTITION BY model_a, model_b, side, role, shape) AS in_order
    FROM (
        SELECT pairs.*, 'a' AS side, trained.*
        FROM pairs JOIN trained ON trained.model = model_a
        ANTI JOIN by_slot ON by_slot.id_a = trained.id AND by_slot.model_b = pairs.model_b
        UNION ALL
        SELECT pairs.*, 'b', trained.*
        FROM pairs JOIN trained ON trained.model = model_b
        ANTI JOIN by_slot ON by_slot.id_b = trained.id AND by_slot.model_a = pairs.model_a
    )
),
by_order AS (
    SELECT a.model_a, a.model_b, a.id AS id_a, b.id AS id_b, 'order' AS match_method
    FROM rest AS a
    JOIN rest AS b ON b.model_a = a.model_a AND b.model_b = a.model_b AND b.role = a.role AND b.shape = a.shape
        AND b.number = a.number AND b.number_of = a.number_of
    WHERE a.side = 'a' AND b.side = 'b' AND a.role <> 'unknown'
        AND (a.number_of = 1 OR a.in_order AND b.in_order)
),
once AS (
    -- Contents that a model holds in one tensor only.
    SELECT any_value(id) AS id FROM trained WHERE content IS NOT NULL GROUP BY model, content HAVING count(*) = 1
),
by_content AS (
    SELECT a.model_a, a.model_b, a.id AS id_a, b.id AS id_b, 'content' AS match_method
    FROM rest AS a
    JOIN rest AS b ON b.model_a = a.model_a AND b.model_b = a.model_b AND b.content = a.content
    -- DuckDB 1.3 knows no NOT EXISTS of two conditions here.
    ANTI JOIN by_order AS a_paired ON a_paired.id_a = a.id AND a_paired.model_b = a.model_b
    ANTI JOIN by_order AS b_paired ON b_paired.id_b = b.id AND b_paired.model_a = a.model_a
    WHERE a.side = 'a' AND b.side = 'b' AND (a.role = b.role OR 'unknown' IN (a.role, b.role))
        AND a.id IN (FROM once) AND b.id IN (FROM once)
),
matched AS (
    FROM by_slot
    UNION ALL
    FROM by_order
    UNION ALL
    FROM by_content
),
samples AS (
    SELECT tensor_id(model, kind, slot) AS id, sample.value AS value, abs_max
    FROM weights WHERE asked_for(model, pattern) AND NOT is_statistic(role)
),
scaled AS (
    SELECT
        id_a, id_b, CASE WHEN isfinite(y - x) THEN x / x_scale END AS x,
        CASE WHEN isfinite(y - x) THEN y / y_scale - x / x_scale END AS d,
        greatest(x_scale, y_scale) AS scale, (y - x) / greatest(x_scale, y_scale) AS change
    FROM (
        SELECT
            id_a, id_b, coalesce(nullif(a.abs_max, 0), 1) AS x_scale, coalesce(nullif(b.abs_max, 0), 1) AS y_scale,
            unnest(a.value) AS x, unnest(b.value) AS y
        FROM matched JOIN samples AS a ON a.id = id_a JOIN samples AS b ON b.id = id_b
        WHERE len(a.value) = len(b.value)
    )
),
summed AS (
    SELECT
        id_a, id_b, any_value(scale) AS scale, sum(change * change) FILTER (isfinite(change)) AS squares,
        {
            'n': count(d), 'x2': sum(x * x), 'y2': sum((x + d) * (x + d)), 'xy': sum(x * (x + d)), 'xd': sum(x * d),
            'd2': sum(d * d),
            'x4': sum(x * x * x * x), 'x3d': sum(x * x * x * d), 'x2d2': sum(x * x * d * d),
            'xd3': sum(x * d * d * d), 'd4': sum(d * d * d * d), 'd_max': 0
        } AS sums
    FROM scaled GROUP BY id_a, id_b
),
measured AS (
    SELECT
        model_a, model_b, match_method, a.value_count AS size,
        coalesce(a.l2_norm, 0) ** 2 / 2 + coalesce(b.l2_norm, 0) ** 2 / 2 AS square,
        CASE WHEN a.content_hash = b.content_hash AND NOT (a.l2_norm = 0 OR b.l2_norm = 0) THEN 1
            ELSE 1 - distance END AS cosine,
        CASE WHEN a.content_hash = b.content_hash OR distance IS NULL THEN 0
            ELSE coalesce(cosine_se(sums, a.value_count, distance, gap), 0) END AS standard_error,
        CASE WHEN a.content_hash = b.content_hash THEN 0
            ELSE squares / nullif(sums.n, 0) * scale ** 2 END AS mean_square
    FROM matched
    JOIN trained AS a ON a.id = id_a
    JOIN trained AS b ON b.id = id_b
    LEFT JOIN (
        SELECT *, cosine_distance(sums, gap) AS distance FROM (SELECT *, length_gap(sums) AS gap FROM summed)
    ) USING (id_a, id_b)
),
totals AS (
    SELECT
        model_a, model_b, sum(size * cosine) / nullif(sum(size) FILTER (cosine IS NOT NULL), 0) AS similarity,
        sqrt(sum((size * standard_error) ** 2) FILTER (cosine IS NOT NULL))
            / nullif(sum(size) FILTER (cosine IS NOT NULL), 0) AS standard_error,
        sqrt(sum(size * mean_square) / nullif(sum(square), 0)) AS relative_l2,
        sum(size) AS matched_size, count(*) AS tensors,
        string_agg(DISTINCT match_method, ', ' ORDER BY match_method DESC) AS match_method
    FROM measured
    WHERE mean_square IS NOT NULL
    GROUP BY model_a, model_b
),
judged AS (
    SELECT
        * EXCLUDE (tensors), coalesce(matched_size, 0) / parameters AS coverage, coalesce(tensors, 0) AS tensors,
        coalesce(matched_size, 0) / parameters >= min_coverage AND similarity IS NOT NULL AS comparable
    FROM pairs LEFT JOIN totals USING (model_a, model_b)
)
SELECT
    model_a, model_b, CASE WHEN comparable THEN similarity END AS similarity,
    CASE WHEN comparable THEN standard_error END AS standard_error,
    CASE WHEN comparable THEN relative_l2 END AS relative_l2, coverage, tensors, match_method,
    CASE
        WHEN comparable THEN NULL
        WHEN coverage = 0 THEN 'no tensor in common, or no samples of it'
        WHEN coverage < min_coverage THEN floor(coverage * 100 + 0.5)::BIGINT || ' % of the parameters match'
        ELSE 'nothing but zeros' END AS reason
FROM judged;
