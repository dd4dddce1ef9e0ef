-- clusters: Which models are the same, close or related, and which is the odd one out?
--
-- Parameters
--   model         VARCHAR = '*'  which models: a name, or a pattern with * and ?
--   close         DOUBLE = 0.1   models are close if their worst tensor's relative L2 is at most this
--   min_coverage  DOUBLE = 0.5   pairs of which a smaller share of parameters match are not compared
-- Columns
--   model                         the model
--   verdict                       its relation to its nearest (see `similarity`), or 'odd one out'
--   represented_by                the model of its group that all others of the group are close to; NULL if none is well
--   group_size [models]           models in the group: identical, rounded or close to that one
--   family                        the first of the models that are related to it, from one to the next
--   family_size [models]          how many they are
--   nearest                       the model with the closest relation to it, the most similar of these
--   nearest_similarity            their similarity
--   null_similarity               the upper end of the correlation that independent trainings of these shapes have
--   worst_slot                    the tensor in which they differ most
--   worst_relative_l2 [fraction]  by how much
--   changed [tensors]             tensors in which they differ by more than rounding
--   differs                       the first three of them
--   typical                       median similarity to the comparable models
--   compared_with [models]        how many models it could be compared with
--   reason                        the verdict in words
-- How to read it
--   Models that are identical, rounded or close stand in one group: close in every tensor, by direction and by length.
--   That is evidence for sharing a model between kinds of data, to be confirmed on held-out data of each kind. A model
--   with an error or a warning of `health` represents no other. Are the weights not close, that is not evidence that you
--   need different models: independent trainings are strangers by weights though they may do the same, because hidden
--   units stand in any order. The odd one out is told among at least 4 comparable models, if nearly all of them (all but
--   one, or but a tenth) are one family and it is none of it; where more stand apart, they are several kinds, and none is
--   odd. See `similarity` for every pair.
-- What it does not prove
--   That close models behave alike, that the odd one is worse, or that any is better: only validation tells.
WITH RECURSIVE pairs AS MATERIALIZED (
    FROM similarities(coalesce(getvariable('model'), '*'), coalesce(getvariable('min_coverage'), 0.5),
        coalesce(getvariable('close'), 0.1))
),
words AS (
    SELECT unnest(words) AS relation, generate_subscripts(words, 1) AS rank
    FROM (SELECT ['identical', 'rounded', 'same_but', 'same_run', 'close', 'related', 'strangers', 'not_comparable'] AS words)
),
neighbours AS MATERIALIZED (
    SELECT model, other, rank, relation IN ('identical', 'rounded', 'close') AS near, pairs.* EXCLUDE (model_a, model_b)
    FROM (
        SELECT model_a AS model, model_b AS other, * FROM pairs
        UNION ALL
        SELECT model_b, model_a, * FROM pairs
    ) AS pairs
    JOIN words USING (relation)
),
names AS (
    SELECT DISTINCT model FROM weights
    WHERE asked_for(model, coalesce(getvariable('model'), '*')) AND role NOT IN ('count', 'vector_u')
),
nearest AS (
    FROM neighbours WHERE rank < 8
    QUALIFY row_number() OVER (PARTITION BY model ORDER BY rank, similarity DESC NULLS LAST, other) = 1
),
models AS (
    SELECT
        names.model, count(*) FILTER (rank < 8) AS compared_with, median(similarity) AS typical,
        coalesce(list(other ORDER BY other) FILTER (near), []) AS near
    FROM names LEFT JOIN neighbours USING (model)
    GROUP BY names.model
),
-- Whoever has most close models comes first, and represents those that no one before represents.
ranked AS (
    SELECT *, row_number() OVER (ORDER BY len(near) DESC, model) AS place FROM models
),
chosen AS (
    SELECT 0::BIGINT AS place, []::VARCHAR[] AS leaders
    UNION ALL
    SELECT
        ranked.place,
        CASE WHEN list_has_any(chosen.leaders, ranked.near) THEN chosen.leaders
            ELSE list_append(chosen.leaders, ranked.model) END
    FROM chosen JOIN ranked ON ranked.place = chosen.place + 1
),
leaders AS (
    SELECT unnest(leaders) AS leader FROM (FROM chosen ORDER BY place DESC LIMIT 1)
),
groups AS (
    SELECT model, leader AS represented_by FROM models JOIN leaders ON leader = model
    UNION ALL
    (
        SELECT model, other FROM neighbours JOIN leaders ON leader = other
        WHERE near AND model NOT IN (SELECT leader FROM leaders)
        QUALIFY row_number() OVER (PARTITION BY model ORDER BY rank, similarity DESC NULLS LAST, other) = 1
    )
),
sizes AS (
    SELECT represented_by, count(*) AS group_size FROM groups GROUP BY represented_by
),
-- From relation to relation.
reached AS (
    SELECT model, model AS other FROM names
    UNION
    SELECT reached.model, neighbours.other
    FROM reached JOIN neighbours ON neighbours.model = reached.other
    WHERE rank <= 6
),
families AS (
    SELECT model, min(other) AS family, count(*) AS family_size FROM reached GROUP BY model
),
circles AS (
    -- A model and those it can be compared with.
    SELECT model, other FROM neighbours WHERE rank < 8 UNION ALL SELECT model, model FROM names
),
shares AS (
    SELECT circles.model, families.family, count(*) AS size
    FROM circles JOIN families ON families.model = circles.other
    GROUP BY circles.model, families.family
),
largest AS (
    SELECT model, max(size) AS largest_size, arg_max(family, (size, -number)) AS largest_family, sum(size) AS circle
    FROM (SELECT *, dense_rank() OVER (ORDER BY family) AS number FROM shares)
    GROUP BY model
),
judged AS (
    SELECT
        *, CASE
            WHEN compared_with = 0 THEN 'not_comparable'
            WHEN circle >= 4 AND largest_size >= 3 AND family <> largest_family
                AND circle - largest_size <= greatest(1, floor(circle * 0.1)) THEN 'odd one out'
            ELSE relation END AS verdict
    FROM models
    JOIN groups USING (model)
    JOIN sizes USING (represented_by)
    JOIN families USING (model)
    JOIN largest USING (model)
    LEFT JOIN nearest USING (model)
)
SELECT
    model, verdict, represented_by, group_size, family, family_size, other AS nearest, similarity AS nearest_similarity,
    null_similarity, CASE WHEN worst_relative_l2 > 0 THEN worst_slot END AS worst_slot, worst_relative_l2, changed, differs,
    typical, compared_with, CASE verdict
        WHEN 'not_comparable' THEN 'no other model with enough matching tensors'
        WHEN 'identical' THEN 'equal to ' || other || ' in every value'
        WHEN 'rounded' THEN other || ' in another type'
        WHEN 'same_but' THEN other || ' but for ' || CASE WHEN len(differs) = 0 THEN 'tensors that one of them lacks'
            ELSE array_to_string(differs, ', ')
                || CASE WHEN changed > len(differs) THEN ' and ' || (changed - len(differs)) || ' more' ELSE '' END END
        WHEN 'same_run' THEN 'a checkpoint of the run of ' || other
        WHEN 'close' THEN 'close to ' || other || ' in every tensor; ' || worst_slot || ' differs by '
            || figure_text(worst_relative_l2) || ' at most'
        WHEN 'related' THEN 'alike in direction, and not close: ' || worst_slot || ' differs by '
            || figure_text(worst_relative_l2)
        WHEN 'odd one out' THEN 'as unalike to the others as independent trainings, which they are not to each other'
        ELSE CASE WHEN null_similarity IS NULL THEN 'no matrix to compare'
            ELSE 'correlation at most ' || printf('%.2f', correlation) || ', where independent trainings have up to '
                || printf('%.2f', null_similarity) END
        END AS reason
FROM judged
ORDER BY
    list_position(['identical', 'rounded', 'same_but', 'same_run', 'close', 'related', 'odd one out', 'strangers',
        'not_comparable'], verdict),
    group_size DESC, represented_by, model;
