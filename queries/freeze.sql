-- freeze: Which frozen layers changed, and which trainable ones did not?
--
-- Parameters
--   model      VARCHAR = '*'  which models: a name, or a pattern with * and ?; for runs, their last checkpoint
--   reference  VARCHAR = ''   compare each model with this one; without it, each run with itself from step to step
-- Columns
--   severity             warning, info, or NULL where a layer did as it is marked
--   verdict              frozen but changed, trainable but unchanged, partly unchanged, statistics moved, nothing
--     changed, as marked, cannot tell
--   model                the model; for a run its last checkpoint
--   reference            what it is compared with; for a run its first checkpoint
--   layer                the layer; NULL in the row of a model that did not change at all
--   marked               frozen, trainable or mixed, as the file says; statistics where a layer has nothing else
--   seen                 which tensors changed
--   changed [tensors]    weights that changed, without moving statistics
--   of [tensors]         of how many
--   relative_l2          the largest change: L2 norm of the difference over the norm before, from the sample
--   match_method         slot, name, order, content or unmatched: how its tensors found their counterparts
--   threshold            where the finding begins
--   advice               what to do
-- How to read it
--   A tensor changed when its content hash did, be it by one bit (or its sample, where the reference is of another
--   framework, which may store the same values in another order). Marks are those of the later model, or else of the
--   earlier one. Moving statistics (of a BatchNormalization) are never trained and often move in frozen layers, when
--   data pass in training mode: that alone is information. With a reference, the two models are aligned by all
--   evidence, as `diff` does; in plain SQL by slot and shape, then by order among those of equal shape and role, if both
--   files have an order or there is one only. relative_l2 is there
--   for layers with a finding. Where a run changes its architecture, its checkpoints are aligned in the same way; in
--   plain SQL, cannot tell.
-- What it does not prove
--   Marks are those at the time of saving. Files of weights alone have none: cannot tell. A layer may have been frozen
--   after it trained.
WITH
kept AS (
    SELECT
        model, run, step, slot, kind, tensor_index, has_order(layer_index) AS ordered, role, canonical_shape,
        content_hash, trainable, coalesce(framework, format) AS written_by,
        CASE WHEN coalesce(getvariable('reference'), '') <> '' THEN hash(sample.value) END AS sample_hash,
        coalesce(layer, regexp_replace(slot, '/[^/]*$', '')) AS layer
    FROM weights WHERE kind = 'weight'
),

-- Along runs: each checkpoint beside the one before. Of several at one step, the first by name.
steps AS (
    SELECT run, step, min(model) AS model FROM kept
    WHERE coalesce(getvariable('reference'), '') = '' AND run IS NOT NULL AND step IS NOT NULL
    GROUP BY run, step
),

ends AS (
    SELECT run, arg_min(model, step) AS first_model, arg_max(model, step) AS last_model
    FROM steps GROUP BY run
    HAVING count(*) > 1 AND asked_for(last_model, coalesce(getvariable('model'), '*'))
),

-- Which tensors of a run's checkpoints are one. wexport itself aligns checkpoints where a run changes its architecture.
tracks AS (
    SELECT model, slot, slot AS track, 'slot' AS match_method FROM kept SEMI JOIN steps USING (run, step, model)
),

-- A layer that was put in shifts the ordinals of others, so that slots tell nothing where the architecture changes.
shapes AS (
    SELECT model, hash(list(slot || canonical_shape::VARCHAR ORDER BY slot)) AS architecture
    FROM kept SEMI JOIN steps USING (run, step, model) GROUP BY model
),

along_runs AS (
    SELECT
        last_model AS model, first_model AS reference,
        last_value(layer) OVER whole AS layer, role, trainable, step, match_method, last_value(slot) OVER whole AS slot,
        first_value(slot) OVER whole AS slot_before,
        canonical_shape = lag(canonical_shape) OVER along
            AND (architecture = lag(architecture) OVER along OR starts_with(track, 'aligned ')) AS comparable,
        CASE WHEN comparable THEN content_hash <> lag(content_hash) OVER along END AS changed,
        lag(step) OVER along AS step_before,
        lag(trainable) OVER along AS trainable_before
    FROM kept SEMI JOIN steps USING (run, step, model) JOIN ends USING (run) JOIN tracks USING (model, slot)
    JOIN shapes USING (model)
    WINDOW along AS (PARTITION BY run, track ORDER BY step),
        whole AS (PARTITION BY run, track ORDER BY step ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
),

-- Against a reference: by slot and shape, and by order among what is left.
base AS (FROM kept WHERE model = coalesce(getvariable('reference'), '')),

others AS (
    FROM kept
    WHERE asked_for(model, coalesce(getvariable('model'), '*')) AND model <> coalesce(getvariable('reference'), '')
        AND EXISTS (FROM base)
),

-- Against a reference, wexport itself aligns the models by all evidence instead.
by_slot AS (
    SELECT others.model, others.slot, base.slot AS slot_before
    FROM others JOIN base USING (slot, canonical_shape)
),

left_here AS (
    SELECT
        *, row_number() OVER (alike ORDER BY tensor_index, slot) AS place,
        count(*) OVER alike = 1 OR bool_and(ordered) OVER alike AS told
    FROM others ANTI JOIN by_slot USING (model, slot)
    WINDOW alike AS (PARTITION BY model, canonical_shape, role)
),

left_there AS (
    SELECT
        models.model, base.slot AS slot_before, canonical_shape, role,
        row_number() OVER (alike ORDER BY tensor_index, base.slot) AS place,
        count(*) OVER alike = 1 OR bool_and(ordered) OVER alike AS told
    FROM (SELECT DISTINCT model FROM left_here) AS models CROSS JOIN base
    ANTI JOIN by_slot ON by_slot.model = models.model AND by_slot.slot_before = base.slot
    WINDOW alike AS (PARTITION BY models.model, canonical_shape, role)
),

matched AS (
    SELECT *, 'slot' AS match_method FROM by_slot
    UNION ALL
    SELECT model, slot, slot_before, 'order'
    FROM left_here JOIN left_there USING (model, canonical_shape, role, place)
    WHERE left_here.told AND left_there.told
),

against_reference AS (
    SELECT
        others.model, coalesce(getvariable('reference'), '') AS reference, others.layer, others.role, others.trainable,
        NULL AS step, coalesce(match_method, 'unmatched') AS match_method, others.slot, slot_before,
        slot_before IS NOT NULL AS comparable,
        -- Frameworks store equal values in different orders, so that their hashes differ.
        CASE WHEN others.written_by = before.written_by OR others.content_hash = before.content_hash
            THEN others.content_hash <> before.content_hash
            ELSE others.sample_hash <> before.sample_hash END AS changed,
        0 AS step_before,
        before.trainable AS trainable_before
    FROM others LEFT JOIN matched USING (model, slot) LEFT JOIN base AS before ON before.slot = slot_before
),

-- A row a tensor: whether it ever changed, and whether it did so while it was marked as frozen.
compared AS MATERIALIZED (
    SELECT
        model, reference, layer, slot, any_value(slot_before) AS slot_before, any_value(role) AS role,
        is_statistic(any_value(role)) AS statistic,
        any_value(match_method) AS match_method,
        bool_and(comparable) AS comparable,
        bool_or(changed) AS changed,
        bool_or(changed AND NOT coalesce(trainable, trainable_before)) AS changed_frozen,
        bool_and(coalesce(trainable, trainable_before)) AS trainable,
        count(*) FILTER (changed) AS changes,
        count(*) AS pairs,
        min(step) FILTER (changed) AS first_change
    FROM (FROM along_runs WHERE step_before IS NOT NULL UNION ALL BY NAME FROM against_reference)
    GROUP BY model, reference, layer, slot
),

counted AS (
    SELECT
        model, reference, layer,
        count(*) FILTER (NOT statistic AND changed) AS changed_count,
        count(*) FILTER (NOT statistic) AS weight_count,
        count(*) FILTER (statistic AND changed) AS statistics_changed,
        count(*) FILTER (NOT statistic AND changed_frozen) AS frozen_changed,
        count(*) FILTER (NOT statistic AND trainable) AS trainable_count,
        count(*) FILTER (NOT statistic AND trainable AND changed) AS trainable_changed,
        count(*) FILTER (NOT statistic AND trainable IS NULL) AS unmarked,
        bool_and(comparable) AS comparable,
        max(match_method) AS match_method,
        string_agg(DISTINCT role, ', ' ORDER BY role) FILTER (changed) AS changed_roles,
        min(first_change) AS first_change
    FROM compared GROUP BY model, reference, layer
),

layers AS (
    SELECT
        *,
        CASE
            WHEN weight_count = 0 THEN 'statistics' WHEN unmarked > 0 THEN NULL
            WHEN trainable_count = weight_count THEN 'trainable' WHEN trainable_count = 0 THEN 'frozen'
            ELSE 'mixed' END AS marked
    FROM counted
),

judged AS (
    SELECT
        *,
        bool_or(changed_count > 0) OVER (PARTITION BY model, reference) AS model_changed,
        CASE
            WHEN NOT comparable THEN 'cannot tell'
            WHEN frozen_changed > 0 THEN 'frozen but changed'
            WHEN marked IS NULL THEN 'cannot tell'
            WHEN trainable_count > 0 AND trainable_changed = 0 THEN 'trainable but unchanged'
            WHEN trainable_changed < trainable_count THEN 'partly unchanged'
            WHEN marked = 'frozen' AND statistics_changed > 0 THEN 'statistics moved'
            ELSE 'as marked' END AS verdict
    FROM layers
),

found AS MATERIALIZED (
    SELECT
        CASE
            WHEN verdict = 'frozen but changed' THEN 'warning'
            WHEN verdict = 'trainable but unchanged' AND model_changed THEN 'warning'
            WHEN verdict = 'partly unchanged' OR verdict = 'statistics moved' THEN 'info' END AS severity,
        *
    FROM judged
),

-- How much: only for the findings, and read for their tensors alone.
flagged AS MATERIALIZED (
    SELECT model, reference, layer, slot, slot_before
    FROM found JOIN compared USING (model, reference, layer) WHERE severity IS NOT NULL AND changed
),

samples AS MATERIALIZED (
    SELECT model, slot, sample.value AS points
    FROM weights SEMI JOIN (
        SELECT model, slot FROM flagged UNION SELECT reference, slot_before FROM flagged
    ) USING (model, slot) WHERE kind = 'weight'
),

amounts AS (
    SELECT model, reference, layer, max(amount) FILTER (isfinite(amount)) AS relative_l2
    FROM (
        SELECT
            flagged.model, reference, layer,
            CASE WHEN len(now.points) = len(before.points) THEN
                list_distance(now.points, before.points) / nullif(sqrt(list_inner_product(before.points,
                    before.points)), 0)
            END AS amount
        FROM flagged
        JOIN samples AS now ON now.model = flagged.model AND now.slot = flagged.slot
        JOIN samples AS before ON before.model = flagged.reference AND before.slot = flagged.slot_before
    )
    GROUP BY model, reference, layer
),

answer AS (
    SELECT
        severity, verdict, model, reference, layer, marked,
        CASE
            WHEN NOT comparable THEN 'no counterpart of the same shape'
            WHEN changed_roles IS NULL THEN 'nothing changed'
            ELSE changed_roles || ' changed' || coalesce(', first up to step ' || first_change, '') END AS seen,
        changed_count AS changed, weight_count AS "of", relative_l2, match_method,
        CASE WHEN severity IS NOT NULL THEN 'content hash' END AS threshold,
        CASE WHEN severity IS NOT NULL THEN finding_advice('freeze', verdict) END AS advice
    FROM found LEFT JOIN amounts USING (model, reference, layer)
    UNION ALL
    SELECT
        'info', 'nothing changed', model, reference, NULL, NULL, 'no weight changed at all', 0,
            sum(weight_count)::BIGINT, NULL,
        max(match_method), 'content hash', finding_advice('freeze', 'nothing changed')
    FROM judged GROUP BY model, reference HAVING NOT bool_or(model_changed) AND bool_and(comparable)
)

SELECT severity, verdict, model, reference, layer, marked, seen, changed, "of", relative_l2, match_method, threshold,
    advice
FROM answer
ORDER BY
    CASE severity WHEN 'error' THEN 0 WHEN 'warning' THEN 1 WHEN 'info' THEN 2 ELSE 3 END,
    CASE verdict WHEN 'frozen but changed' THEN 0 WHEN 'trainable but unchanged' THEN 1 WHEN 'cannot tell'
        THEN 3 ELSE 2 END,
    model, layer;
