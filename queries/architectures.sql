-- architectures: Which models share an architecture, and where do the others differ?
--
-- Parameters
--   model  VARCHAR = '*'   which models: a name, or a pattern with * and ?
--   most   BIGINT = 5      how many differences to list for each architecture
-- Columns
--   architecture                        its number, from 1: the one with the most models first
--   models [models]                     models that have it
--   tensors [tensors]                   tensors in each, without optimizer state
--   parameters [values]                 values in each
--   dtype                               stored types; where its models differ, each with the number of models
--   nearest                             the architecture it is compared with: the most alike of the 20 most common
--                                       before it; NULL if unrelated to all
--   differing [tensors]                 slots that differ from the nearest
--   difference                          'only here', 'missing', 'other shape', 'other role', or 'unrelated';
--                                       NULL for the first
--   slot                                the slot that differs
--   shape [values]                      its canonical shape here
--   nearest_shape [values]              its canonical shape in the nearest
--   members                             the models, in the first row of each architecture
-- How to read it
--   Models share an architecture when their weights have the same slots, canonical shapes and roles. Each architecture
--   has a row for each of its first differences, in layer order; `differing` counts them all. Stored types are no
--   part of an architecture, but figures of an int8 and a float32 model do not compare. An inserted layer renumbers
--   those of its class behind it, so it shows as several differences. Architectures are alike by the share of all
--   their slots that both have, where another shape counts half; below a quarter they are unrelated. The slots of raw
--   HDF5 arrays are their paths.
-- What it does not prove
--   That models of one architecture compute alike: activations, strides and connections have no weights.
WITH listed AS NOT MATERIALIZED (
    SELECT
        model, kind, slot, role, canonical_shape, dtype, value_count, tensor_index,
        concat_ws(' ', kind, slot, coalesce(role, 'unknown'), canonical_shape) AS mark
    FROM weights
    WHERE asked_for(model, coalesce(getvariable('model'), '*'))
),

-- A model's signature: the sum of 64-bit hashes of its tensors, which no order changes.
signed AS (
    SELECT
        model, sum(hash(kind, slot, coalesce(role, 'unknown'), canonical_shape)) AS signature, count(*) AS tensors,
        sum(value_count)::BIGINT AS parameters,
        string_agg(DISTINCT dtype, '+' ORDER BY dtype) AS dtype
    FROM listed
    GROUP BY model
),

numbered AS (
    SELECT
        signature, tensors, any_value(parameters) AS parameters, list(model ORDER BY model) AS members,
        row_number() OVER (ORDER BY count(*) DESC, any_value(parameters) DESC, min(model)) AS architecture
    FROM signed
    GROUP BY signature, tensors
),

types AS (
    SELECT
        signature, tensors,
        CASE WHEN count(*) = 1 THEN any_value(dtype)
            ELSE string_agg(dtype || ': ' || models, ', ' ORDER BY models DESC, dtype) END AS dtype
    FROM (SELECT signature, tensors, dtype, count(*) AS models FROM signed GROUP BY ALL)
    GROUP BY signature, tensors
),

-- The tensors of each architecture, as its first model has them.
parts AS (
    SELECT architecture, numbered.tensors, listed.*
    FROM numbered JOIN listed ON listed.model = numbered.members[1]
),

-- How alike two architectures are: the share of all their slots that both have, half if in another shape or role.
nearest AS (
    SELECT here.architecture, there.architecture AS nearest
    FROM parts AS here JOIN parts AS there USING (kind, slot)
    WHERE there.architecture < here.architecture AND there.architecture <= 20
    GROUP BY here.architecture, there.architecture, here.tensors, there.tensors
    HAVING sum(CASE WHEN here.mark = there.mark THEN 1 ELSE 0.5 END)
        >= 0.25 * (here.tensors + there.tensors - count(*))
    QUALIFY row_number() OVER (
        PARTITION BY here.architecture
        ORDER BY
            sum(CASE WHEN here.mark = there.mark THEN 1 ELSE 0.5 END) / (here.tensors + there.tensors - count(*)) DESC,
            there.architecture
    ) = 1
),

compared AS (
    SELECT
        architecture, slot,
        here.canonical_shape AS shape, there.canonical_shape AS nearest_shape,
        CASE
            WHEN there.slot IS NULL THEN 'only here'
            WHEN here.slot IS NULL THEN 'missing'
            WHEN here.canonical_shape IS DISTINCT FROM there.canonical_shape THEN 'other shape'
            ELSE 'other role'
        END AS difference,
        coalesce(here.tensor_index, there.tensor_index) AS place
    FROM (FROM parts JOIN nearest USING (architecture)) AS here
    FULL JOIN (
        SELECT nearest.architecture, parts.* EXCLUDE (architecture)
        FROM nearest JOIN parts ON parts.architecture = nearest.nearest
    ) AS there USING (architecture, kind, slot)
    WHERE here.mark IS DISTINCT FROM there.mark
),

differences AS (
    SELECT
        *,
        count(*) OVER (PARTITION BY architecture) AS differing,
        row_number() OVER (PARTITION BY architecture ORDER BY place, difference, slot) AS number
    FROM compared
)

SELECT
    architecture,
    len(members) AS models,
    tensors,
    parameters,
    types.dtype,
    nearest,
    differing,
    CASE WHEN architecture > 1 AND nearest IS NULL THEN 'unrelated' ELSE difference END AS difference,
    slot,
    shape_text(shape) AS shape,
    shape_text(nearest_shape) AS nearest_shape,
    CASE WHEN coalesce(number, 1) = 1 THEN members END AS members
FROM numbered
JOIN types USING (signature, tensors)
LEFT JOIN nearest USING (architecture)
LEFT JOIN differences USING (architecture)
WHERE number IS NULL OR number <= coalesce(getvariable('most'), 5)
ORDER BY architecture, number;
