-- architectures: Which models share an architecture, and where do the others differ?
--
-- Parameters
--   model  VARCHAR = '*'   which models: a name, or a pattern with * and ?
--   most   BIGINT = 5      how many differences to list for each architecture
-- Columns
--   architecture                        its number, from 1: the one with the most models first
--   models [models]                     models that have it, of equal ones only the first
--   copies [models]                     the equal ones beside them: the same values in other files
--   tensors [tensors]                   tensors in each, without optimizer state
--   parameters [values]                 values in each
--   dtype                               stored types; where its models differ, each with the number of models
--   nearest                             the architecture it is compared with: the most alike of the 20 most common
--                                       before it; NULL if unrelated to all
--   differing [tensors]                 slots that differ from the nearest
--   difference                          'only here', 'missing', 'other shape', 'other role', 'other names' (equal shapes
--                                       and roles in other slots), or 'unrelated';
--                                       NULL for the first
--   slot                                the slot that differs
--   shape [values]                      its canonical shape here
--   nearest_shape [values]              its canonical shape in the nearest
--   members                             the models, in the first row of each architecture
-- How to read it
--   Models share an architecture when their weights have the same slots, canonical shapes and roles, or the same content
--   bit for bit, whatever the layers are called. One model in several files counts once. Each architecture
--   has a row for each of its first differences, in layer order; `differing` counts them all. Stored types are no
--   part of an architecture, but figures of an int8 and a float32 model do not compare. An inserted layer renumbers
--   those of its class behind it, so it shows as several differences. Architectures are alike by the share of all
--   their slots that both have, where another shape counts half, or by the share of tensors of one shape and role
--   whatever their slots; below a quarter they are unrelated. The slots of raw HDF5 arrays are their paths.
-- What it does not prove
--   That models of one architecture compute alike: activations, strides and connections have no weights.
WITH RECURSIVE listed AS NOT MATERIALIZED (
    SELECT
        model, kind, slot, role, canonical_shape, dtype, value_count, tensor_index, content_hash,
        is_evidence(value_count, std, histogram) AS is_evidence,
        concat_ws(' ', kind, slot, coalesce(role, 'unknown'), canonical_shape) AS mark
    FROM weights
    WHERE asked_for(model, coalesce(getvariable('model'), '*'))
),

-- A model's signature: the sum of 64-bit hashes of its tensors, which no order changes.
signed AS (
    SELECT
        model, sum(hash(kind, slot, coalesce(role, 'unknown'), canonical_shape)) AS signature, count(*) AS tensors,
        sum(value_count)::BIGINT AS parameters,
        string_agg(DISTINCT dtype, '+' ORDER BY dtype) AS dtype,
        -- All contents in an order of their own; unknown if any is, or if none is evidence of anything.
        CASE WHEN bool_or(is_evidence) AND count(content_hash) = count(*)
            THEN md5(string_agg(content_hash, ' ' ORDER BY content_hash)) END AS content
    FROM listed
    GROUP BY model
),

-- Signatures that have a content in common are one architecture, and so are those that these have one in common with.
links AS (
    SELECT DISTINCT here.signature, there.signature AS other
    FROM (SELECT DISTINCT signature, content FROM signed) AS here
    JOIN (SELECT DISTINCT signature, content FROM signed) AS there USING (content)
),

reached AS (
    SELECT DISTINCT signature, signature AS other FROM signed
    UNION
    SELECT reached.signature, links.other FROM reached JOIN links ON links.signature = reached.other
),

homes AS (
    SELECT signature, min(other) AS home FROM reached GROUP BY signature
),

housed AS (
    SELECT signed.* EXCLUDE (signature), home AS signature FROM signed JOIN homes USING (signature)
),

numbered AS (
    SELECT
        signature, arg_min(tensors, model) AS tensors, arg_min(parameters, model) AS parameters,
        list(model ORDER BY model) AS members, count(DISTINCT coalesce(content, model)) AS models,
        row_number() OVER (
            ORDER BY count(DISTINCT coalesce(content, model)) DESC, any_value(parameters) DESC, min(model)
        ) AS architecture
    FROM housed
    GROUP BY signature
),

types AS (
    SELECT
        signature,
        CASE WHEN count(*) = 1 THEN any_value(dtype)
            ELSE string_agg(dtype || ': ' || models, ', ' ORDER BY models DESC, dtype) END AS dtype
    FROM (SELECT signature, dtype, count(*) AS models FROM housed GROUP BY ALL)
    GROUP BY signature
),

-- The tensors of each architecture, as its first model has them.
parts AS (
    SELECT architecture, numbered.tensors, listed.*
    FROM numbered JOIN listed ON listed.model = numbered.members[1]
),

-- How alike two architectures are: the share of all their slots that both have, half if in another shape or role.
by_slot AS (
    SELECT
        here.architecture, there.architecture AS other,
        sum(CASE WHEN here.mark = there.mark THEN 1 ELSE 0.5 END) / (here.tensors + there.tensors - count(*)) AS share
    FROM parts AS here JOIN parts AS there USING (kind, slot)
    WHERE there.architecture < here.architecture AND there.architecture <= 20
    GROUP BY here.architecture, there.architecture, here.tensors, there.tensors
),

-- Or the share of tensors that have one of equal shape and role in the other.
shapes AS (
    SELECT architecture, tensors, kind, coalesce(role, 'unknown') AS role, canonical_shape, count(*) AS times
    FROM parts GROUP BY ALL
),

by_shape AS (
    SELECT
        here.architecture, there.architecture AS other,
        sum(least(here.times, there.times))
            / (here.tensors + there.tensors - sum(least(here.times, there.times))) AS share
    FROM shapes AS here JOIN shapes AS there USING (kind, role, canonical_shape)
    WHERE there.architecture < here.architecture AND there.architecture <= 20
    GROUP BY here.architecture, there.architecture, here.tensors, there.tensors
),

nearest AS (
    SELECT
        architecture, other AS nearest, coalesce(by_shape.share, 0) = 1 AND coalesce(by_slot.share, 0) < 1 AS renamed
    FROM by_slot FULL JOIN by_shape USING (architecture, other)
    WHERE greatest(by_slot.share, by_shape.share) >= 0.25
    QUALIFY row_number() OVER (
        PARTITION BY architecture ORDER BY greatest(by_slot.share, by_shape.share) DESC, by_slot.share DESC NULLS LAST, other
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
    FROM (FROM parts JOIN nearest USING (architecture) WHERE NOT renamed) AS here
    FULL JOIN (
        SELECT nearest.architecture, parts.* EXCLUDE (architecture)
        FROM nearest JOIN parts ON parts.architecture = nearest.nearest
        WHERE NOT renamed
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
    models,
    len(members) - models AS copies,
    tensors,
    parameters,
    types.dtype,
    nearest,
    differing,
    CASE WHEN architecture > 1 AND nearest IS NULL THEN 'unrelated' WHEN renamed THEN 'other names'
        ELSE difference END AS difference,
    slot,
    shape_text(shape) AS shape,
    shape_text(nearest_shape) AS nearest_shape,
    CASE WHEN coalesce(number, 1) = 1 THEN members END AS members
FROM numbered
JOIN types USING (signature)
LEFT JOIN nearest USING (architecture)
LEFT JOIN differences USING (architecture)
WHERE number IS NULL OR number <= coalesce(getvariable('most'), 5)
ORDER BY architecture, number;
