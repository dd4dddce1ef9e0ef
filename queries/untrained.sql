-- untrained: Which layers never trained?
--
-- Parameters
--   model       VARCHAR = '*'  which models: a name, or a pattern with * and ?
--   min_values  BIGINT = 200   a distribution is judged from so many values on
--   resolution  DOUBLE = 0.1   and where a change of its standard deviation by this share would be seen
-- Columns
--   severity               warning for an untrained layer beside trained ones, info for a wholly fresh model, or NULL
--   verdict                trained, untrained, or cannot tell; fresh model in the row that speaks of all its layers
--   model                  the model
--   layer                  the layer; NULL in the row of a fresh model
--   seen                   the evidence that decided
--   threshold              where that evidence begins
--   values [values]        size of the layer's largest kernel
--   resolution [fraction]  the smallest change of that kernel's standard deviation that the test would see
--   advice                 what to do
-- How to read it
--   The evidence in order. A constant that moved proves training: a bias, beta or moving mean that is not 0, a gamma or
--   moving variance that is not 1 (or not what the config lets it begin with). So does an orthogonal kernel whose norm
--   is
--   off by more than 1e-5. Only then, and only for kernels that are large enough, does the shape count: range, standard
--   deviation, mean, skewness and kurtosis against the initialiser in the layer's config, each within four standard
--   errors. Layers of constants alone (normalisations) are untrained when none of them moved.
-- What it does not prove
--   A kernel that has the shape of its initialiser may have trained a little, or be a layer that is meant to stay
--   random.
--   Files without a config (weights alone) tell about constants and nothing about shapes, so that they rarely show a
--   layer to be untrained. Moving statistics tell that data passed, not that gradients did.
WITH
-- Moments of the distributions that initialisers draw from, standardised: the fourth, and n times the variance of the
-- sample's mean, skewness and kurtosis; the bound is in standard deviations. The truncated normal is cut at two of its
-- own standard deviations, which leaves 0.87962566 of them.
family(name, bound, fourth, skewness_variance, kurtosis_variance) AS (VALUES
    ('uniform', sqrt(3), 1.8, 2.0571, 1.3166),
    ('truncated_normal', 2 / 0.87962566103423978, 2.3655367, 2.2780, 3.8482),
    ('normal', NULL, 3.0, 6.0, 24.0)
),

kept AS (
    SELECT
        model, coalesce(layer, regexp_replace(slot, '/[^/]*$', '')) AS layer, slot, tensor_index, layer_class, role,
        dtype, shape, gate, value_count, min, max, mean, std, skewness, kurtosis, abs_max, l2_norm,
            nan_count + inf_count AS lost,
        initializer(layer_config, layer_class, role) AS start,
        CASE WHEN json_valid(layer_config) THEN json_extract_string(layer_config, '$.unit_forget_bias') = 'true' END
            AS unit_forget_bias,
        trainable,
        -- How far a stored value may be from the one that was drawn.
        CASE dtype WHEN 'float64' THEN 1e-5 WHEN 'float32' THEN 1e-5 WHEN 'float16' THEN 2e-3 WHEN 'bfloat16'
            THEN 1e-2 END
            AS rounding
    FROM weights
    WHERE asked_for(model, coalesce(getvariable('model'), '*')) AND kind = 'weight' AND role <> 'unknown'
),

named AS (
    SELECT *, coalesce(initializer_class(start), '') AS begins, json_extract(start, '$.config') AS given FROM kept
),

-- A constant that every value begins with: what the config says, else what is the custom for the role. NULL: none.
constants AS (
    SELECT
        *,
        CASE
            WHEN begins IN ('zeros', 'zero') THEN 0.0
            WHEN begins IN ('ones', 'one') THEN 1.0
            WHEN begins = 'constant' THEN json_extract(given, '$.value')::DOUBLE
            WHEN begins <> '' OR gate = 'f' THEN NULL
            WHEN role IN ('bias', 'recurrent_bias', 'beta', 'moving_mean') THEN 0.0
            WHEN role IN ('gamma', 'moving_variance') THEN 1.0
        END AS constant
    FROM named
),

-- Keras counts the fans of a kernel on its shape as stored: the last two axes, times the window.
fans AS (
    SELECT
        *,
        list_product(shape) / nullif(CASE len(shape) WHEN 1 THEN 1 ELSE shape[-1] END, 0) AS fan_in,
        list_product(shape) / nullif(CASE len(shape) WHEN 1 THEN 1 ELSE shape[-2] END, 0) AS fan_out,
        CASE begins
            WHEN 'variancescaling' THEN coalesce(json_extract(given, '$.scale')::DOUBLE, 1)
            WHEN 'heuniform' THEN 2 WHEN 'henormal' THEN 2
            WHEN 'glorotuniform' THEN 1 WHEN 'glorotnormal' THEN 1
            WHEN 'lecununiform' THEN 1 WHEN 'lecunnormal' THEN 1 END AS scale,
        CASE WHEN begins LIKE 'glorot%' THEN 'fan_avg' WHEN begins = 'variancescaling'
            THEN coalesce(json_extract_string(given, '$.mode'), 'fan_in') ELSE 'fan_in' END AS mode,
        CASE
            -- What counts as a fan of an attention's kernel differs between versions of Keras.
            WHEN len(shape) > 2 AND (layer_class LIKE '%Attention' OR layer_class = 'EinsumDense') THEN NULL
            WHEN begins = 'variancescaling' THEN CASE json_extract_string(given, '$.distribution')
                WHEN 'uniform' THEN 'uniform' WHEN 'untruncated_normal' THEN 'normal' ELSE 'truncated_normal' END
            WHEN begins IN ('heuniform', 'glorotuniform', 'lecununiform', 'randomuniform', 'uniform') THEN 'uniform'
            WHEN begins IN ('henormal', 'glorotnormal', 'lecunnormal', 'truncatednormal') THEN 'truncated_normal'
            WHEN begins IN ('randomnormal', 'normal') THEN 'normal' END AS family_name
    FROM constants
),

-- What the initialiser would have drawn: mean and standard deviation.
drawn AS (
    SELECT
        *,
        CASE
            WHEN begins IN ('randomuniform', 'uniform') THEN
                (coalesce(json_extract(given, '$.minval')::DOUBLE, -0.05) + coalesce(json_extract(given,
                    '$.maxval')::DOUBLE, 0.05)) / 2
            WHEN begins IN ('randomnormal', 'normal', 'truncatednormal')
                THEN coalesce(json_extract(given, '$.mean')::DOUBLE, 0)
            ELSE 0 END AS mean_drawn,
        CASE
            WHEN begins IN ('randomuniform', 'uniform') THEN
                (coalesce(json_extract(given, '$.maxval')::DOUBLE, 0.05) - coalesce(json_extract(given,
                    '$.minval')::DOUBLE, -0.05)) / sqrt(12)
            WHEN begins IN ('randomnormal', 'normal') THEN coalesce(json_extract(given, '$.stddev')::DOUBLE, 0.05)
            WHEN begins = 'truncatednormal' THEN coalesce(json_extract(given, '$.stddev')::DOUBLE,
                0.05) * 0.87962566103423978
            ELSE sqrt(scale / CASE mode WHEN 'fan_in' THEN fan_in WHEN 'fan_out'
                THEN fan_out ELSE (fan_in + fan_out) / 2 END)
        END AS std_drawn
    FROM fans
),

-- Each tensor's evidence: moved (proof of training), or a distribution that fits or does not.
judged AS (
    SELECT
        drawn.*,
        family.bound,
        2 * sqrt((fourth - 1) / value_count) AS seen_from,
        CASE
            -- The bias of an LSTM begins with ones for the forget gate, one of four.
            WHEN role = 'bias' AND constant = 0 AND coalesce(unit_forget_bias, true)
                AND min = 0 AND max = 1 AND abs(mean - 0.25) < 1e-6 THEN false
            WHEN dtype = 'float32' THEN min <> constant::FLOAT OR max <> constant::FLOAT
            ELSE greatest(abs(min - constant), abs(max - constant)) > rounding * abs(constant)
        END AS moved,
        CASE WHEN begins = 'orthogonal' AND len(shape) > 1 THEN l2_norm / (
            coalesce(json_extract(given, '$.gain')::DOUBLE, 1) * sqrt(least(shape[-1], value_count / nullif(shape[-1],
                0)))) - 1
        END AS norm_off,
        CASE WHEN family_name IS NOT NULL AND is_kernel(role) THEN
            coalesce(greatest(abs(max - mean_drawn), abs(min - mean_drawn)) > bound * std_drawn * (1 + rounding), false)
        END AS out_of_range,
        CASE WHEN family_name IS NOT NULL AND is_kernel(role) AND NOT (
                coalesce(greatest(abs(max - mean_drawn), abs(min - mean_drawn)) > bound * std_drawn * (1 + rounding),
                    false))
            THEN abs(std / std_drawn - 1) < 4 * sqrt((fourth - 1) / 4 / value_count) + rounding
                AND abs(mean - mean_drawn) < (4 / sqrt(value_count) + rounding) * std_drawn
                AND abs(skewness) < 4 * sqrt(skewness_variance / value_count)
                AND abs(kurtosis + 3 - fourth) < 4 * sqrt(kurtosis_variance / value_count)
        END AS fits
    FROM drawn LEFT JOIN family ON family.name = drawn.family_name
    WHERE lost = 0 AND value_count > 0 AND rounding IS NOT NULL
),

layers AS (
    SELECT
        model, layer,
        min(tensor_index) AS place,
        -- The strongest of each kind of evidence, in words; constants in the order of their meaning.
        arg_min(
            role || ' moved from ' || figure_text(constant) || ': ' || figure_text(min) || ' to ' || figure_text(max),
            list_position(['bias', 'recurrent_bias', 'beta', 'gamma', 'alpha', 'moving_mean', 'moving_variance'], role)
        ) FILTER (moved) AS moved,
        count(*) FILTER (moved IS NOT NULL) AS constants,
        any_value(role || ' has a norm off by ' || figure_text(abs(norm_off))) FILTER (abs(norm_off) > rounding)
            AS norm_off,
        any_value(role || ' exceeds the range of its initialiser: ' || figure_text(greatest(abs(max - mean_drawn),
            abs(min - mean_drawn)))
            || ' beside ' || figure_text(bound * std_drawn)) FILTER (out_of_range) AS out_of_range,
        -- Kernels that are large enough to judge.
        count(*) FILTER (is_kernel(role) AND moved IS NULL) AS kernels,
        bool_and(NOT trainable) AS frozen,
        bool_and(fits) FILTER (fits IS NOT NULL AND powerful) AS fits,
        any_value(role || ' has not the shape of ' || begins) FILTER (NOT fits AND powerful) AS misfit,
        any_value(role || ' has the shape of ' || begins) FILTER (fits AND powerful) AS fit,
        any_value(begins) FILTER (is_kernel(role) AND begins <> '') AS begins,
        max(value_count) FILTER (is_kernel(role)) AS "values",
        arg_max(seen_from, value_count) FILTER (is_kernel(role)) AS resolution
    FROM (
        SELECT
            *,
            value_count >= coalesce(getvariable('min_values'), 200)
            AND seen_from <= coalesce(getvariable('resolution'), 0.1) AS powerful
        FROM judged
    )
    GROUP BY model, layer
),

decided AS (
    SELECT
        *,
        CASE
            WHEN moved IS NOT NULL OR norm_off IS NOT NULL OR out_of_range IS NOT NULL OR misfit IS NOT NULL
                THEN 'trained'
            WHEN fits THEN 'untrained'
            WHEN kernels = 0 AND constants > 0 THEN 'untrained'
            ELSE 'cannot tell' END AS verdict
    FROM layers
),

beside AS (
    SELECT
        *,
        count(*) FILTER (verdict = 'trained') OVER (PARTITION BY model) AS trained_layers,
        count(*) FILTER (verdict = 'untrained') OVER (PARTITION BY model) AS untrained_layers,
        count(*) OVER (PARTITION BY model) AS all_layers
    FROM decided
),

answer AS (
    SELECT
        -- A normalisation that is frozen as it began passes its input on, and is meant to.
        CASE WHEN verdict = 'untrained' AND trained_layers > 0 THEN
            CASE WHEN kernels = 0 AND frozen THEN 'info' ELSE 'warning' END END AS severity,
        verdict, model, layer, place,
        CASE verdict
            WHEN 'trained' THEN coalesce(moved, norm_off, out_of_range, misfit)
            WHEN 'untrained' THEN concat_ws('; ', fit, CASE WHEN constants > 0 THEN 'no constant moved' END,
                CASE WHEN frozen THEN 'marked as frozen' END)
            ELSE CASE
                WHEN "values" IS NULL THEN 'no kernel, no constant'
                WHEN begins IS NULL THEN 'initialiser unknown'
                WHEN resolution IS NULL THEN 'no shape to compare for ' || begins
                ELSE 'too few values for ' || begins END
                || CASE WHEN constants > 0 THEN '; no constant moved' ELSE '' END
        END AS seen,
        CASE
            WHEN verdict = 'untrained' THEN CASE WHEN fits THEN 'within 4 standard errors' ELSE 'as it begins' END
            WHEN verdict <> 'trained' THEN NULL
            WHEN moved IS NOT NULL THEN 'as it begins'
            WHEN norm_off IS NOT NULL THEN '1e-5'
            WHEN out_of_range IS NOT NULL THEN 'the range'
            ELSE '4 standard errors' END AS threshold,
        "values", resolution,
        CASE WHEN verdict = 'untrained' AND trained_layers > 0 THEN 'see whether gradients reach it' END AS advice
    FROM beside
    UNION ALL
    SELECT
        'info', 'fresh model', model, NULL, -1,
        untrained_layers || ' of ' || all_layers || ' layers untrained, none trained', NULL, NULL, NULL, NULL
    FROM beside WHERE trained_layers = 0 AND untrained_layers > 0
    GROUP BY model, untrained_layers, all_layers
)

SELECT severity, verdict, model, layer, seen, threshold, "values", resolution, advice
FROM answer
ORDER BY
    CASE severity WHEN 'error' THEN 0 WHEN 'warning' THEN 1 WHEN 'info' THEN 2 ELSE 3 END,
    CASE verdict WHEN 'untrained' THEN 0 WHEN 'cannot tell' THEN 1 ELSE 2 END,
    model, place, layer;
