-- Which tensors of two models go together, and how alike the models are.

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
