-- normalisation: Are the statistics and scales of the normalisation layers as training leaves them?
--
-- Parameters
--   model  VARCHAR = '*'   which models: a name, or a pattern with * and ?
--   slot   VARCHAR = '*'   which tensors: a slot, or a pattern with * and ?
-- Columns
--   severity           error, warning or info
--   finding            negative_variance, statistics_never_updated, statistics_uniform, vanishing_gamma
--   model              the model
--   slot               the tensor
--   seen               what was found there
--   count [channels]   how many channels are concerned
--   threshold          where the finding begins
--   advice             what to do
-- How to read it
--   A batch normalisation begins with moving means of 0, variances of 1 and a gamma of 1. Where gamma trained and the
--   statistics are as they began, no batch was ever counted: the layer does something else in use than in training. A
--   variance that is the same for all channels comes of a momentum so near 1 that it hardly moved, or of a file that was
--   filled in; variances of 0 throughout mean that one value alone ever came in, or that they were lost. A negative
--   variance gives NaN. A gamma next to 0 beside the others switches its channel off: where that
--   is a twentieth of the channels, it is a warning.
-- What it does not prove
--   Models whose normalisations were folded into their neighbours may rightly have statistics as they begin. Weight decay
--   on gamma switches channels off that are of no use.
WITH asked AS (
    SELECT *, coalesce(layer, layer_of_slot(slot)) AS place FROM weights
    WHERE role IN ('gamma', 'beta', 'moving_mean', 'moving_variance') AND kind = 'weight' AND value_count > 0
        AND nan_count + inf_count = 0 AND asked_for(model, coalesce(getvariable('model'), '*'))
),

layers AS (
    SELECT
        model, place,
        bool_or(role = 'gamma' AND (min < max OR value_count = 1 AND min <> 1)
            OR role = 'beta' AND (min < max OR value_count = 1 AND min <> 0)) AS trained,
        bool_and(min = 0 AND max = 0) FILTER (role = 'moving_mean') AS mean_began,
        bool_and(min = 1 AND max = 1) FILTER (role = 'moving_variance') AS variance_began
    FROM asked GROUP BY model, place
),

gammas AS (
    SELECT
        model, slot, value_count,
        list_aggregate([abs(value) for value in sample.value], 'median') AS usual,
        len([value for value in sample.value if abs(value) < 1e-2 * usual]) AS vanished,
        vanished >= 0.05 * value_count AND vanished >= 2 AS many,
        counts(vanished, 'channel') || ' of ' || value_count || ' switched off: gamma below '
            || figure_text(1e-2 * usual) AS seen,
        '1e-2 of the median' AS threshold, 'cut them out, or decay gamma less' AS advice
    FROM asked WHERE role = 'gamma' AND len(sample.value) = value_count AND value_count >= 4 AND abs_max > 0
),

-- A gamma of zeros, which lets nothing through but beta; some residual branches begin so on purpose.
shut AS (
    SELECT
        CASE WHEN initializer_class(initializer(layer_config, layer_class, role)) IN ('zeros', 'zero') THEN 'info'
            ELSE 'warning' END AS severity,
        model, slot, value_count,
        CASE value_count WHEN 1 THEN 'gamma is 0' ELSE 'gamma is 0 in all ' || value_count || ' channels' END AS seen
    FROM asked WHERE role = 'gamma' AND abs_max = 0
),

found AS (
    SELECT
        'error' AS severity, 'negative_variance' AS finding, model, slot,
        'smallest variance ' || figure_text(min) AS seen,
        coalesce(len([value for value in sample.value if value < 0]), 1) AS count, '0' AS threshold,
        'see how it was converted, or return to an earlier checkpoint' AS advice
    FROM asked WHERE role = 'moving_variance' AND min < -1e-6
    UNION ALL
    SELECT
        'warning', 'statistics_never_updated', model, slot, 'all means are 0 and all variances 1, and gamma or beta moved',
        value_count, 'as they begin', 'train in training mode, or count the statistics once over the data'
    FROM asked JOIN layers USING (model, place)
    WHERE role = 'moving_variance' AND trained AND mean_began AND variance_began
    UNION ALL
    SELECT
        'warning', 'statistics_uniform', model, slot,
        'variances of ' || value_count || ' channels spread by ' || figure_text(std / mean) || ' of their mean '
            || figure_text(mean),
        value_count, '1e-3', 'lower the momentum, or count the statistics once over the data'
    FROM asked JOIN layers USING (model, place)
    WHERE role = 'moving_variance' AND value_count >= 4 AND min >= 0 AND mean > 0 AND std < 1e-3 * mean
        AND NOT coalesce(mean_began AND variance_began, false)
    UNION ALL
    SELECT 'warning', 'vanishing_gamma', model, slot, seen, vanished, threshold, advice FROM gammas WHERE many
    UNION ALL
    SELECT severity, 'vanishing_gamma', model, slot, seen, value_count, 'all 0', 'see whether it was loaded, and how it began'
    FROM shut
    UNION ALL
    SELECT
        'warning', 'statistics_uniform', model, slot,
        CASE value_count WHEN 1 THEN 'the variance is 0' ELSE 'all ' || value_count || ' variances are 0' END,
        value_count, 'all 0', 'see whether the file was written whole, and what comes into the layer'
    FROM asked WHERE role = 'moving_variance' AND min = 0 AND max = 0
    UNION ALL
    SELECT 'info', 'vanishing_gamma', model, slot, seen, vanished, threshold, advice FROM gammas
    WHERE vanished > 0 AND NOT many
)

SELECT severity, finding, model, slot, seen, count, threshold, advice
FROM found WHERE asked_for(slot, coalesce(getvariable('slot'), '*'))
ORDER BY CASE severity WHEN 'error' THEN 0 WHEN 'warning' THEN 1 ELSE 2 END, finding, model, slot;
