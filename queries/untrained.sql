-- untrained: Which models and layers never trained, or hardly?
--
-- Parameters
--   model       VARCHAR = '*'  which models: a name, or a pattern with * and ?
--   min_values  BIGINT = 200   a distribution is judged from this many values on
--   resolution  DOUBLE = 0.1   and where a change of its standard deviation by this share would be seen
-- Columns
--   severity               warning or info for what is a finding, or NULL
--   verdict                trained, untrained, hardly trained, or cannot tell; bias never moved and untouched rows of
--     layers that trained otherwise; fresh model in the row that speaks of all layers
--   model                  the model
--   layer                  the layer; NULL in the row of a fresh model
--   seen                   the evidence that decided
--   threshold              where that evidence begins
--   values [values]        size of the layer's largest kernel
--   resolution [fraction]  the smallest change of that kernel's standard deviation that the test would see
--   advice                 what to do
-- How to read it
--   The evidence in order. A constant that moved proves training: a bias or beta that is not 0 any more, a gamma that is
--   not 1 (or not what the config lets it begin with), each with different values. Moving statistics that moved tell that
--   data passed, and no more. If no constant of a whole model moved, and it has some, the model is fresh. Else an
--   orthogonal kernel whose norm is off by more than 1e-5 is trained. Only then, and only for kernels that are large
--   enough, does the shape count: range, standard deviation, mean, skewness and kurtosis against the initialiser in the
--   layer's config, each within four standard errors. A truncated normal is out of range when more values are beyond its
--   bound than a backend's rounding brings there (4.3e-6 of all, Poisson). Layers of constants alone (normalisations) are
--   untrained when none of them moved. PyTorch draws biases as it draws kernels: there one has moved that is beyond
--   1 / sqrt(inputs). In layers whose roles nobody tells, a vector of different values that are not in order has moved.
--   Hardly trained is a layer whose constants moved while a kernel of 2,000 values or more kept the shape of its
--   initialiser, or a deep net of sigmoids whose kernels kept their scale within a tenth. Rows of an embedding are untouched that still lie
--   within the bounds of the uniform distribution that they were drawn from: their share is told from the step of the
--   histogram there.
-- What it does not prove
--   A kernel that has the shape of its initialiser may have trained a little, or be a layer that is meant to stay
--   random. Files without a config (weights alone) tell about constants and nothing about shapes, so that they rarely
--   show a layer to be untrained.
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
        dtype, shape, canonical_shape, format, gate, histogram, sample, q05, q95,
        format LIKE '%torch%' OR format IN ('safetensors', 'gguf') OR coalesce(framework, '') LIKE '%orch%' AS drawn_bias,
        lower(json_extract_string(CASE WHEN json_valid(layer_config) THEN layer_config END, '$.activation')) AS activation, value_count, min, max, mean, std, skewness, kurtosis, abs_max, l2_norm,
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
    WHERE asked_for(model, coalesce(getvariable('model'), '*')) AND kind = 'weight'
),

named AS (
    SELECT
        *, json_extract(start, '$.config') AS given,
        -- Keras' own choice, where a file of weights alone does not tell: it may prove a layer untrained, never trained.
        start IS NULL AND role = 'kernel' AND (format LIKE '%h5%' OR format LIKE 'keras%') AS guessed,
        CASE WHEN guessed THEN 'glorotuniform' ELSE coalesce(initializer_class(start), '') END AS begins
    FROM kept
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
        -- What counts as a fan of an attention's kernel differs between versions of Keras: its scale tells nothing.
        len(shape) > 2 AND (layer_class LIKE '%Attention' OR layer_class = 'EinsumDense') AS any_scale,
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
            WHEN any_scale THEN std
            ELSE sqrt(scale / CASE mode WHEN 'fan_in' THEN fan_in WHEN 'fan_out'
                THEN fan_out ELSE (fan_in + fan_out) / 2 END)
        END AS std_drawn
    FROM fans
),

-- What the largest kernel of a layer takes in.
inputs AS (
    SELECT model, layer, max(value_count / nullif(canonical_shape[-1], 0)) AS taken_in
    FROM kept WHERE is_kernel(role) OR role = 'unknown' AND len(shape) >= 2 GROUP BY model, layer
),

-- How far from what it began with a tensor may be, and how many values are surely beyond the bound of its distribution.
measured AS (
    SELECT
        drawn.*, family.fourth, family.skewness_variance, family.kurtosis_variance,
        bound * std_drawn * (1 + rounding
            + CASE WHEN any_scale THEN 4 * sqrt((fourth - 1) / 4 / value_count) ELSE 0 END) AS reach,
        bound * std_drawn AS edge,
        4.3e-6 * value_count AS stray,
        greatest(abs(max - mean_drawn), abs(min - mean_drawn)) AS farthest,
        coalesce(taken_in, 1) AS fan
    FROM drawn LEFT JOIN family ON family.name = drawn.family_name LEFT JOIN inputs USING (model, layer)
    WHERE lost = 0 AND value_count > 0 AND rounding IS NOT NULL
),

ranged AS (
    SELECT
        *,
        CASE WHEN family_name IS NOT NULL AND is_kernel(role) THEN
            coalesce(farthest > reach AND (family_name <> 'truncated_normal' OR stray < 0.01
                OR coalesce(value_count - lost - count_below(histogram, histogram_edge(greatest(edge * 1.07, 1e-30))),
                    value_count) > stray + 4 * sqrt(stray) + 3), false)
        END AS out_of_range
    FROM measured
),

-- Each tensor's evidence: moved (proof of training), or a distribution that fits or does not.
judged AS (
    SELECT
        *,
        2 * sqrt((fourth - 1) / value_count) AS seen_from,
        CASE
            WHEN role = 'unknown' THEN CASE
                WHEN len(shape) = 1 AND value_count >= 4 AND list_unique(sample.value) > 2
                    AND list_sort(sample.value) <> sample.value AND list_reverse_sort(sample.value) <> sample.value
                    THEN true END
            -- The bias of an LSTM begins with ones for the forget gate, one of four.
            WHEN role = 'bias' AND constant = 0 AND coalesce(unit_forget_bias, true)
                AND min = 0 AND max = 1 AND abs(mean - 0.25) < 1e-6 THEN false
            WHEN role IN ('bias', 'recurrent_bias') AND begins = '' AND drawn_bias AND min < max
                THEN CASE WHEN abs_max > (1 + rounding) / sqrt(fan) THEN true END
            -- One value throughout is not training: it is what somebody let it begin with.
            WHEN min = max AND value_count > 1 AND begins = '' AND NOT is_statistic(role) THEN constant <> constant
            WHEN dtype = 'float32' THEN min <> constant::FLOAT OR max <> constant::FLOAT
            ELSE greatest(abs(min - constant), abs(max - constant)) > rounding * abs(constant)
        END AS moved,
        CASE WHEN begins = 'orthogonal' AND len(shape) > 1 THEN l2_norm / (
            coalesce(json_extract(given, '$.gain')::DOUBLE, 1) * sqrt(least(shape[-1], value_count / nullif(shape[-1],
                0)))) - 1
        END AS norm_off,
        CASE WHEN family_name IS NOT NULL AND is_kernel(role) AND NOT out_of_range
            THEN abs(std / std_drawn - 1) < 4 * sqrt((fourth - 1) / 4 / value_count) + rounding
                AND abs(mean - mean_drawn) < (4 / sqrt(value_count) + rounding) * std_drawn
                AND abs(skewness) < 4 * sqrt(skewness_variance / value_count)
                AND abs(kurtosis + 3 - fourth) < 4 * sqrt(kurtosis_variance / value_count)
        END AS fits,
        -- The share of an embedding's values that still lie within the bounds that they were drawn from.
        CASE WHEN role = 'embeddings' AND family_name = 'uniform' AND mean_drawn = 0 THEN bounded_share(histogram, edge) END
            AS untouched
    FROM ranged
),

layers AS (
    SELECT
        model, layer,
        min(tensor_index) AS place,
        -- The strongest of each kind of evidence, in words; constants in the order of their meaning.
        arg_min(
            CASE WHEN role = 'unknown' THEN 'a vector of unknown role has values '
                || figure_text(min) || ' to ' || figure_text(max) ELSE role || ' moved from ' || figure_text(constant) || ': ' || figure_text(min) || ' to ' || figure_text(max) END,
            list_position(['bias', 'recurrent_bias', 'beta', 'gamma', 'alpha', 'moving_mean', 'moving_variance', role], role)
        ) FILTER (moved AND NOT is_statistic(role)) AS moved,
        count(*) FILTER (moved IS NOT NULL AND NOT is_statistic(role)) AS constants,
        bool_or(moved AND is_statistic(role)) AS counted,
        bool_or(NOT moved AND role = 'bias' AND min = 0 AND max = 0 AND value_count > 1) AS zero_bias,
        any_value(slot) FILTER (NOT moved AND role = 'bias') AS bias_slot,
        any_value(role || ' has a norm off by ' || figure_text(abs(norm_off))) FILTER (abs(norm_off) > rounding)
            AS norm_off,
        any_value(role || ' exceeds the range of its initialiser: ' || figure_text(greatest(abs(max - mean_drawn),
            abs(min - mean_drawn)))
            || ' beside ' || figure_text(edge)) FILTER (out_of_range AND NOT guessed) AS out_of_range,
        -- Kernels that are large enough to judge.
        count(*) FILTER (is_kernel(role) AND moved IS NULL) AS kernels,
        bool_and(NOT trainable) AS frozen,
        bool_and(fits) FILTER (fits IS NOT NULL AND powerful AND NOT guessed) AS fits,
        any_value(role || ' has not the shape of ' || begins) FILTER (NOT fits AND powerful AND NOT guessed) AS misfit,
        any_value(role || ' has the shape of ' || begins) FILTER (fits AND powerful AND NOT guessed) AS fit,
        bool_and(coalesce(fits, false)) FILTER (family_name IS NOT NULL AND is_kernel(role) AND value_count >= 50) AS fits_roughly,
        any_value(role || ' has the shape of ' || begins) FILTER (fits AND value_count >= 50) AS rough_fit,
        max(value_count) FILTER (fits AND value_count >= 2000 AND NOT any_scale AND NOT guessed) AS fitting_values,
        bool_or(activation = 'sigmoid' AND is_kernel(role) AND NOT guessed AND abs(std / std_drawn - 1) < 0.1) AS idle_sigmoid,
        any_value(activation) FILTER (is_kernel(role)) AS activation,
        max(untouched) AS untouched,
        any_value(begins) FILTER (is_kernel(role) AND begins <> '' AND NOT guessed) AS begins,
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

-- A model whose constants are all as they began is fresh, whatever chance makes of its kernels.
models AS (
    SELECT
        model, bool_or(moved IS NOT NULL) AS any_moved, sum(constants) > 0 AS any_constant,
        bool_or(counted) AS data_passed,
        count(*) FILTER (moved LIKE 'bias%') AS moved_biases, count(*) FILTER (zero_bias) AS zero_biases,
        count(*) FILTER (idle_sigmoid) AS idle_sigmoids, count(*) FILTER (activation = 'sigmoid') AS sigmoids
    FROM layers GROUP BY model
),

decided AS (
    SELECT
        *, any_constant AND NOT any_moved AS unmoved,
        CASE
            WHEN unmoved THEN CASE WHEN kernels > 0 OR constants > 0 THEN 'untrained' ELSE 'cannot tell' END
            WHEN moved IS NOT NULL AND fitting_values IS NOT NULL AND norm_off IS NULL AND out_of_range IS NULL
                AND misfit IS NULL THEN 'hardly trained'
            WHEN idle_sigmoid AND idle_sigmoids >= 4 AND idle_sigmoids >= 0.5 * sigmoids THEN 'hardly trained'
            WHEN moved IS NOT NULL OR norm_off IS NOT NULL OR out_of_range IS NOT NULL OR misfit IS NOT NULL
                THEN 'trained'
            WHEN fits OR fits_roughly AND constants > 0 THEN 'untrained'
            WHEN kernels = 0 AND constants > 0 THEN 'untrained'
            ELSE 'cannot tell' END AS verdict
    FROM layers JOIN models USING (model)
),

beside AS (
    SELECT
        *,
        count(*) FILTER (verdict IN ('trained', 'hardly trained')) OVER (PARTITION BY model) AS trained_layers,
        count(*) FILTER (verdict = 'untrained') OVER (PARTITION BY model) AS untrained_layers,
        count(*) FILTER (verdict = 'hardly trained') OVER (PARTITION BY model) AS idle_layers,
        count(*) OVER (PARTITION BY model) AS all_layers
    FROM decided
),

answer AS (
    SELECT
        CASE
            -- A normalisation that is frozen as it began passes its input on, and is meant to.
            WHEN verdict = 'untrained' AND trained_layers > 0
                THEN CASE WHEN kernels = 0 AND frozen THEN 'info' ELSE 'warning' END
            WHEN verdict = 'hardly trained' THEN 'warning' END AS severity,
        verdict, model, layer, place,
        CASE verdict
            WHEN 'trained' THEN coalesce(moved, norm_off, out_of_range, misfit)
            WHEN 'hardly trained' THEN concat_ws('; ', moved, coalesce(fit, rough_fit),
                CASE WHEN idle_sigmoid AND idle_sigmoids >= 4 THEN 'one of ' || idle_sigmoids
                    || ' sigmoid layers whose scale is as it began' END)
            WHEN 'untrained' THEN concat_ws('; ', CASE WHEN unmoved THEN fit ELSE coalesce(fit, rough_fit) END,
                CASE WHEN constants > 0 OR unmoved THEN 'no constant moved' END,
                CASE WHEN frozen THEN 'marked as frozen' END)
            ELSE CASE
                WHEN "values" IS NULL THEN 'no kernel, no constant'
                WHEN begins IS NULL THEN 'initialiser unknown'
                WHEN resolution IS NULL THEN 'no shape to compare for ' || begins
                ELSE 'too few values for ' || begins END
                || CASE WHEN constants > 0 THEN '; no constant moved' ELSE '' END
        END AS seen,
        CASE
            WHEN verdict IN ('untrained', 'hardly trained')
                THEN CASE WHEN fits OR fits_roughly THEN 'within 4 standard errors' ELSE 'as it begins' END
            WHEN verdict <> 'trained' THEN NULL
            WHEN moved IS NOT NULL THEN 'as it begins'
            WHEN norm_off IS NOT NULL THEN '1e-5'
            WHEN out_of_range IS NOT NULL THEN 'the range'
            ELSE '4 standard errors' END AS threshold,
        "values", resolution,
        CASE
            WHEN verdict = 'untrained' AND trained_layers > 0
                THEN 'see whether it was loaded by its right name, and whether gradients reach it'
            WHEN verdict = 'hardly trained' AND activation = 'sigmoid' THEN 'gradients vanish: use ReLU or normalisation'
            WHEN verdict = 'hardly trained' THEN 'train longer, or raise the learning rate' END AS advice
    FROM beside
    UNION ALL
    SELECT
        'warning', 'bias never moved', model, layer, place, 'its bias is 0 throughout, and '
            || counts(moved_biases, 'other') || ' moved', 'as it begins', "values", NULL,
        'see whether it was loaded or converted whole'
    FROM beside
    WHERE zero_bias AND moved IS NULL AND moved_biases >= 2 AND moved_biases > zero_biases
        AND (norm_off IS NOT NULL OR out_of_range IS NOT NULL OR misfit IS NOT NULL)
        AND NOT coalesce(frozen, false) AND verdict = 'trained'
    UNION ALL
    SELECT
        'warning', 'untouched rows', model, layer, place,
        'about ' || round(100 * untouched)::BIGINT || ' % of the rows are as they were drawn', '80 %', "values", NULL,
        'see which words the data hold; leave out those that it never does'
    FROM beside WHERE untouched >= 0.8 AND out_of_range IS NOT NULL
    UNION ALL
    SELECT
        'warning', 'fresh model', model, NULL, -1,
        untrained_layers || ' of ' || all_layers || ' layers untrained, none trained'
            || CASE WHEN data_passed THEN '; data passed, as moving statistics tell' ELSE '' END,
        NULL, NULL, NULL, 'train it, or see whether the right weights were saved'
    FROM beside WHERE trained_layers = 0 AND untrained_layers > 0
    GROUP BY model, untrained_layers, all_layers, data_passed
)

SELECT severity, verdict, model, layer, seen, threshold, "values", resolution, advice
FROM answer
ORDER BY
    CASE severity WHEN 'error' THEN 0 WHEN 'warning' THEN 1 WHEN 'info' THEN 2 ELSE 3 END,
    CASE verdict WHEN 'fresh model' THEN 0 WHEN 'untrained' THEN 1 WHEN 'cannot tell' THEN 2 ELSE 3 END,
    model, place, layer;
