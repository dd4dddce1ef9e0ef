-- The table, and what is nested in it as rows.
--
-- wexport makes these views and the macros of the other parts in every session. For the plain duckdb CLI, in the folder
-- of weights.parquet:
--
--   wexport query --views > views.sql
--   duckdb -init views.sql -f queries/models.sql
--
-- What is printed are these files in the order of their names and, behind this one, what derives from declarations in
-- Python: the view gates; is_kernel, is_statistic, gate_place; tensor_statistic, weight_statistics; finding_advice. For a
-- table of another name, and for parameters, set variables first: -cmd "SET VARIABLE model = 'cnn_*'". The table is the
-- variable weights_parquet, a list of files or patterns.

-- Every tensor, whatever its kind.
CREATE OR REPLACE VIEW tensors AS
FROM read_parquet(coalesce(getvariable('weights_parquet'), ['weights.parquet']));

-- The tensors that are weights, and the raw arrays that may be; no optimizer state. With the variable `kinds` set to
-- ['activation'] or ['gradient'], what is asked of weights is asked of the outputs or gradients of models that were run.
CREATE OR REPLACE VIEW weights AS
FROM tensors WHERE list_contains(coalesce(getvariable('kinds'), ['weight', 'array']), kind);

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
