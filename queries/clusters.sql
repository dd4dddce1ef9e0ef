-- clusters: Which models are so close that one would do, and which is the odd one out?
--
-- Parameters
--   model         VARCHAR = '*'  which models: a name, or a pattern with * and ?
--   close         DOUBLE = 0.95  two models are close if their similarity is at least this
--   gap           DOUBLE = 0.1   an odd one is at least so much less similar to the others than is usual
--   min_coverage  DOUBLE = 0.5   pairs of which a smaller share of parameters match are not compared
-- Columns
--   model                        the model
--   verdict                      'close', 'odd one out', 'on its own' or 'not comparable'
--   represented_by               the model of its group that all others of the group are close to
--   group_size [models]          models in the group
--   nearest                      the model most similar to it
--   nearest_similarity           their similarity
--   within                       mean similarity to the others of its group
--   between                      mean similarity to comparable models outside it
--   typical                      median similarity to the comparable models
--   usual                        median of `typical` over it and these models
--   compared_with [models]       how many models it could be compared with
--   reason                       the verdict in words
-- How to read it
--   A group is a model and those close to it, so by weights one would do for all of them: evidence for sharing a model
--   between kinds of data, to be confirmed on held-out data of each kind. Are the weights not close, that is no
--   evidence that you need different models: independent trainings have similarities near 0 though they may do the
--   same, because hidden units stand in any order. None of them is odd then, and none close. The odd one out is told
--   by a robust rule: among at least 4 comparable models, its typical similarity is below the usual one by more than
--   `gap` and by more than 5 robust standard deviations (1.4826 times the median absolute deviation). See `similarity`
--   for every pair.
-- What it does not prove
--   That close models behave alike, that the odd one is worse, or that any is better: only validation tells.
WITH RECURSIVE pairs AS MATERIALIZED (
    FROM similarities(coalesce(getvariable('model'), '*'), coalesce(getvariable('min_coverage'), 0.5))
),
neighbours AS (
    SELECT model_a AS model, model_b AS other, similarity FROM pairs WHERE similarity IS NOT NULL
    UNION ALL
    SELECT model_b, model_a, similarity FROM pairs WHERE similarity IS NOT NULL
),
models AS (
    SELECT
        names.model, count(other) AS compared_with, median(similarity) AS typical,
        arg_max(other, (similarity, -other_number)) AS nearest, max(similarity) AS nearest_similarity,
        coalesce(list(other ORDER BY other) FILTER (similarity >= coalesce(getvariable('close'), 0.95)), []) AS near
    FROM (
        SELECT DISTINCT model FROM weights
        WHERE asked_for(model, coalesce(getvariable('model'), '*')) AND NOT is_statistic(role)
    ) AS names
    LEFT JOIN (SELECT *, dense_rank() OVER (ORDER BY other) AS other_number FROM neighbours) AS n
        ON n.model = names.model
    GROUP BY names.model
),
-- Whoever has most close models comes first, and represents those that no one before represents.
ranked AS (
    SELECT *, row_number() OVER (ORDER BY len(near) DESC, typical DESC NULLS LAST, model) AS place FROM models
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
    SELECT model, arg_max(other, (similarity, -number))
    FROM neighbours
    JOIN (SELECT leader, row_number() OVER (ORDER BY leader) AS number FROM leaders) AS l ON leader = other
    WHERE similarity >= coalesce(getvariable('close'), 0.95) AND model NOT IN (SELECT leader FROM leaders)
    GROUP BY model
),
sizes AS (
    SELECT represented_by, count(*) AS group_size FROM groups GROUP BY represented_by
),
distances AS (
    SELECT
        neighbours.model,
        avg(similarity) FILTER (mine.represented_by = theirs.represented_by) AS within,
        avg(similarity) FILTER (mine.represented_by <> theirs.represented_by) AS between
    FROM neighbours
    JOIN groups AS mine ON mine.model = neighbours.model
    JOIN groups AS theirs ON theirs.model = other
    GROUP BY neighbours.model
),
circles AS (
    -- A model and those it can be compared with.
    SELECT model, other FROM neighbours UNION ALL SELECT model, model FROM models
),
usuals AS (
    SELECT circles.model, median(typical) AS usual
    FROM circles JOIN models ON models.model = other
    GROUP BY circles.model
),
spreads AS (
    SELECT circles.model, median(abs(typical - usual)) AS deviation
    FROM circles JOIN models ON models.model = other JOIN usuals ON usuals.model = circles.model
    GROUP BY circles.model
),
judged AS (
    SELECT
        *, CASE
            WHEN compared_with = 0 THEN 'not comparable'
            WHEN compared_with >= 3
                AND usual - typical > greatest(coalesce(getvariable('gap'), 0.1), 5 * 1.4826 * deviation)
                THEN 'odd one out'
            WHEN group_size > 1 THEN 'close'
            ELSE 'on its own' END AS verdict
    FROM models
    JOIN groups USING (model)
    JOIN sizes USING (represented_by)
    JOIN usuals USING (model)
    JOIN spreads USING (model)
    LEFT JOIN distances USING (model)
)
SELECT
    model, verdict, represented_by, group_size, nearest, nearest_similarity, within, between, typical, usual,
    compared_with, CASE verdict
        WHEN 'not comparable' THEN 'no other model with enough matching tensors'
        WHEN 'odd one out' THEN 'typically less similar to the others than they are to each other'
        WHEN 'close' THEN 'by weights, ' || represented_by || ' would do for ' || group_size || ' models'
        ELSE CASE
            WHEN len(near) > 0 THEN 'close only to models that another represents'
            WHEN compared_with < 3 THEN 'no model is close; an odd one is told among 4 or more'
            ELSE 'no model is close, as with independent trainings' END
        END AS reason
FROM judged
ORDER BY
    CASE verdict WHEN 'odd one out' THEN 0 WHEN 'close' THEN 1 WHEN 'on its own' THEN 2 ELSE 3 END,
    group_size DESC, represented_by, model;
