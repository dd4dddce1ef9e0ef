-- layers: How does a figure of each layer differ between models?
--
-- Parameters
--   statistic  VARCHAR = 'std'  the figure: any numeric column of a tensor (`wexport schema` lists them), or rms
--   model      VARCHAR = '*'    which models: a name, or a pattern with * and ?
--   slot       VARCHAR = '*'    which slots: a name, or a pattern with * and ?
--   role       VARCHAR = '*'    which tensors of a layer, by role; '*' is all but statistics such as moving_mean
-- Columns
--   layer                       place of the layer in the model: its slots without their last part
--   tensors [values]            the tensors that the figure is over, with their canonical shapes
--   note                        why figures may not compare: 'other shapes elsewhere' where the layer has other tensors
--                               or shapes in other models, in rows of their own; 'dtypes ...' where there are several
--   *                           a column a model: the figure; NULL where it has no such layer, or no such figure
-- How to read it
--   A layer's tensors are taken together. Counts (value_count, nan_count, zero_count, unit_count, zero_unit_count ...)
--   and l1_norm are sums; the fractions are of all its values; abs_max, min and max are the extremes. mean, std, rms,
--   abs_mean and l2_norm are those of all its finite values, exact from the tensors' counts and moments. Quantiles,
--   skewness and kurtosis of several tensors do not follow from those of each: they are NULL unless the layer has one
--   such tensor. A kernel and a bias are of different scale: role = 'kernel' compares like with like, and has the
--   quantiles too. Units are counted once in each tensor that has them. Rows are in layer order, models in the order
--   of their run and step, then of their names.
-- What it does not prove
--   That layers with equal figures are equal, or that a difference matters for what a model does.
WITH chosen AS (
    SELECT model, row_number() OVER (ORDER BY any_value(run) NULLS FIRST, any_value(step), model) AS model_place
    FROM weights
    WHERE asked_for(model, coalesce(getvariable('model'), '*'))
    GROUP BY model
),

listed AS (
    SELECT *, layer_of_slot(slot) AS layer_slot, value_count - nan_count - inf_count AS finite_count
    FROM weights JOIN chosen USING (model)
    WHERE asked_for(slot, coalesce(getvariable('slot'), '*'))
        AND CASE WHEN coalesce(getvariable('role'), '*') = '*' THEN is_statistic(role) IS NOT TRUE
            ELSE asked_for(role, coalesce(getvariable('role'), '*')) END
),

-- What the figures of a whole layer need: its mean, and a scale at which squares neither overflow nor vanish.
scaled AS (
    SELECT
        *,
        sum(finite_count * mean) OVER layers / nullif(sum(finite_count) OVER layers, 0) AS layer_mean,
        coalesce(nullif(max(l2_norm) OVER layers, 0), 1) AS scale
    FROM listed
    WINDOW layers AS (PARTITION BY model, kind, layer_slot)
),

pooled AS (
    SELECT
        model, model_place, kind, layer_slot,
        count(*) AS tensor_count,
        string_agg(concat_ws(' ', coalesce(role, 'unknown'), shape_text(canonical_shape)), ', ' ORDER BY tensor_index)
            AS tensors,
        list(DISTINCT dtype) AS dtypes,
        min(tensor_index) AS tensor_index, min(layer_index) AS layer_index,
        any_value(step) AS step, any_value(source_bytes) AS source_bytes,
        -- Counts and sums.
        sum(value_count) AS value_count, nullif(sum(finite_count), 0) AS finite_count,
        sum(nan_count) AS nan_count, sum(inf_count) AS inf_count,
        sum(zero_count) AS zero_count, sum(near_zero_count) AS near_zero_count,
        sum(unit_count) AS unit_count, sum(zero_unit_count) AS zero_unit_count,
        sum(zero_input_count) AS zero_input_count, sum(l1_norm) AS l1_norm,
        -- Extremes.
        max(abs_max) AS abs_max, min(min) AS min, max(max) AS max,
        -- Moments: the sum of squares about the layer's mean is that within the tensors and that between them.
        any_value(layer_mean) AS mean,
        any_value(scale) * sqrt(sum(pow(l2_norm / scale, 2))) AS l2_norm,
        any_value(scale) * sqrt(
            sum(finite_count * (pow(std / scale, 2) + pow((mean - layer_mean) / scale, 2)))
            / nullif(sum(finite_count), 0)
        ) AS std,
        -- What only a single tensor has.
        any_value(q01) AS q01, any_value(q05) AS q05, any_value(q25) AS q25, any_value(q50) AS q50,
        any_value(q75) AS q75, any_value(q95) AS q95, any_value(q99) AS q99,
        any_value(skewness) AS skewness, any_value(kurtosis) AS kurtosis
    FROM scaled
    GROUP BY model, model_place, kind, layer_slot
),

figures AS (
    SELECT
        model, model_place, kind, layer_slot, tensor_index, tensors, dtypes,
        -- The name is a constant, so DuckDB reads only the columns that it needs.
        CASE coalesce(getvariable('statistic'), 'std')
            WHEN 'value_count' THEN value_count
            WHEN 'nan_count' THEN nan_count
            WHEN 'inf_count' THEN inf_count
            WHEN 'zero_count' THEN zero_count
            WHEN 'near_zero_count' THEN near_zero_count
            WHEN 'unit_count' THEN unit_count
            WHEN 'zero_unit_count' THEN zero_unit_count
            WHEN 'zero_input_count' THEN zero_input_count
            WHEN 'tensor_index' THEN tensor_index
            WHEN 'layer_index' THEN layer_index
            WHEN 'step' THEN step
            WHEN 'source_bytes' THEN source_bytes
            WHEN 'zero_fraction' THEN zero_count / nullif(value_count, 0)
            WHEN 'near_zero_fraction' THEN near_zero_count / nullif(value_count, 0)
            WHEN 'nan_fraction' THEN nan_count / nullif(value_count, 0)
            WHEN 'abs_max' THEN abs_max
            WHEN 'min' THEN min
            WHEN 'max' THEN max
            WHEN 'l1_norm' THEN l1_norm
            WHEN 'abs_mean' THEN l1_norm / finite_count
            WHEN 'l2_norm' THEN l2_norm
            WHEN 'rms' THEN l2_norm / sqrt(finite_count)
            WHEN 'mean' THEN mean
            WHEN 'std' THEN std
            WHEN 'q01' THEN CASE WHEN tensor_count = 1 THEN q01 END
            WHEN 'q05' THEN CASE WHEN tensor_count = 1 THEN q05 END
            WHEN 'q25' THEN CASE WHEN tensor_count = 1 THEN q25 END
            WHEN 'q50' THEN CASE WHEN tensor_count = 1 THEN q50 END
            WHEN 'q75' THEN CASE WHEN tensor_count = 1 THEN q75 END
            WHEN 'q95' THEN CASE WHEN tensor_count = 1 THEN q95 END
            WHEN 'q99' THEN CASE WHEN tensor_count = 1 THEN q99 END
            WHEN 'skewness' THEN CASE WHEN tensor_count = 1 THEN skewness END
            WHEN 'kurtosis' THEN CASE WHEN tensor_count = 1 THEN kurtosis END
            ELSE error('there is no statistic ''' || coalesce(getvariable('statistic'), 'std')
                || '''; it is a numeric column of a tensor, such as std, abs_max, kurtosis or zero_fraction')
        END::DOUBLE AS figure
    FROM pooled
),

-- The first model that has a row says where it stands.
places AS (
    SELECT
        kind, layer_slot, tensors, min((model_place, tensor_index)) AS place,
        nullif(concat_ws('; ',
            CASE WHEN count(*) OVER (PARTITION BY kind, layer_slot) > 1 THEN 'other shapes elsewhere' END,
            CASE WHEN len(list_distinct(flatten(list(dtypes)))) > 1
                THEN 'dtypes ' || array_to_string(list_sort(list_distinct(flatten(list(dtypes)))), ', ') END
        ), '') AS note
    FROM figures
    GROUP BY kind, layer_slot, tensors
),

placed AS (
    SELECT place, layer_slot AS layer, tensors, note, model, figure
    FROM figures JOIN places USING (kind, layer_slot, tensors)
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
    GROUP BY place, layer, tensors, note
)
ORDER BY place, layer;
