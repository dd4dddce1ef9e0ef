-- tensors: How does a figure of each tensor differ between models?
--
-- Parameters
--   statistic  VARCHAR = 'std'  the figure: any numeric column of a tensor (`wexport schema` lists them), or rms
--   model      VARCHAR = '*'    which models: a name, or a pattern with * and ?
--   slot       VARCHAR = '*'    which slots: a name, or a pattern with * and ?
-- Columns
--   slot                        place of the tensor in the model
--   shape [values]              its canonical shape; a slot that has several has a row for each
--   note                        why figures may not compare: 'other shapes elsewhere' where other models have this slot
--                               in another shape, in rows of their own; 'dtypes ...' where it is stored in several
--   *                           a column a model: the figure; NULL where it has no such tensor, or no such figure
-- How to read it
--   Rows are in layer order, models in the order of their run and step, then of their names. Siblings of one
--   architecture have a figure in every row; where one is far out of line, look at that tensor. Figures of one row are
--   of one slot and one shape, but see the note: an 8-bit integer
--   is on another scale than a float. Many models make many
--   columns: choose with model = 'fold_*', or take --format csv.
-- What it does not prove
--   That tensors with equal figures are equal (`duplicates` does), or that a difference matters for what a model does.
WITH chosen AS (
    SELECT model, row_number() OVER (ORDER BY any_value(run) NULLS FIRST, any_value(step), model) AS model_place
    FROM weights
    WHERE asked_for(model, coalesce(getvariable('model'), '*'))
    GROUP BY model
),

figures AS (
    SELECT
        model, model_place, kind, slot, tensor_index, shape_text(canonical_shape) AS shape, dtype,
        value AS figure
    FROM tensor_statistic(coalesce(getvariable('statistic'), 'std')) JOIN chosen USING (model)
    WHERE asked_for(slot, coalesce(getvariable('slot'), '*'))
),

-- The first model that has a row says where it stands.
places AS (
    SELECT
        kind, slot, shape, min((model_place, tensor_index)) AS place,
        nullif(concat_ws('; ',
            CASE WHEN count(*) OVER (PARTITION BY kind, slot) > 1 THEN 'other shapes elsewhere' END,
            CASE WHEN count(DISTINCT dtype) > 1 THEN 'dtypes ' || string_agg(DISTINCT dtype, ', ' ORDER BY dtype) END
        ), '') AS note
    FROM figures
    GROUP BY kind, slot, shape
),

placed AS (
    SELECT places.place, figures.slot, figures.shape, places.note, figures.model, figures.figure
    FROM figures
    JOIN places
        ON places.kind = figures.kind AND places.slot = figures.slot AND places.shape IS NOT DISTINCT FROM figures.shape
)

SELECT * EXCLUDE (place)
FROM (
    PIVOT placed
    ON model IN (
        SELECT model
        FROM weights
        WHERE asked_for(model, coalesce(getvariable('model'), '*'))
            AND asked_for(slot, coalesce(getvariable('slot'), '*'))
        GROUP BY model
        ORDER BY any_value(run) NULLS FIRST, any_value(step), model
    )
    USING first(figure)
    GROUP BY place, slot, shape, note
)
ORDER BY place, slot;
