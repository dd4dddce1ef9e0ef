-- predictors: Which figures of the weights go with the metric, over the models?
--
-- Parameters
--   model         VARCHAR = '*'      which models: a name, or a pattern with * and ?
--   slot          VARCHAR = '*'      which slots: a name, or a pattern with * and ?; '(all)' is the whole model
--   statistics    VARCHAR[] = ['mean','l2_norm','abs_max','kurtosis','near_zero_fraction','zero_unit_count']
--                                    the figures to try: columns of the table
--   metric        VARCHAR = ''       the metric; by default val_loss, else val_accuracy, else another validation metric
--   direction     VARCHAR = ''       'higher' or 'lower' is better; by default as the metric's name tells
--   run           VARCHAR = ''       the run that the metrics belong to, where they name no models
--   epoch         VARCHAR = 'last'   of a model with metrics of several epochs, the 'last' or the 'best'
--   epoch_shift   BIGINT = NULL      epoch of the metrics + this = step of the checkpoint, as for rank
--   permutations  BIGINT = 999       how often the metric is shuffled among the models
--   seed          BIGINT = 0         of the shuffling
-- Columns
--   slot                             the tensor; '(all)' for a figure of the whole model
--   statistic                        the figure
--   rho                              Spearman's rank correlation of figure and metric, mid-ranks for ties
--   p                                share of shuffles in which the best of all figures tried does as well or better
--   better_when                      whether models with a higher or a lower figure have the better metric
--   models [models]                  models that are compared
--   figures [figures]                figures tried, of which p takes account
--   verdict                          what p says; why there is no answer
-- How to read it
--   The query reads your metrics under the name metrics (--with metrics=FILE), as `rank` does. One figure among
--   thousands fits any metric by chance: of the 120 orders of 5 models 10 have a |rho| of 0.9 or more, so 500 of 6,000
--   figures of noise do. So p counts, over shuffles of the metric among the models, how often the greatest |rho| of all
--   figures reaches this one's, (1 + count) / (1 + permutations), and below 10 models there is no answer. Only models
--   of one architecture are compared, the one that most have, and only the last checkpoint of a run. A figure that is
--   undefined for some model, or the same for all, is not tried.
-- What it does not prove
--   That a figure makes a model better or worse, or foretells the metric of other models: regularisation, say, moves
--   both. Copies and models fine-tuned from one another are not independent models, and p is too small for them. Nor
--   does a large p prove that there is no relation.
WITH scores AS MATERIALIZED (
    FROM model_scores(
        'metrics',
        coalesce(getvariable('metric'), ''),
        coalesce(getvariable('direction'), ''),
        coalesce(getvariable('run'), ''),
        coalesce(getvariable('epoch_shift'), NULL),
        coalesce(getvariable('epoch'), 'last'))
    WHERE asked_for(model, coalesce(getvariable('model'), '*'))
),
judged AS MATERIALIZED (FROM comparable_scores('scores')),
models AS MATERIALIZED (FROM judged WHERE left_out IS NULL),
wanted AS (SELECT
    coalesce(getvariable('statistics'), ['mean','l2_norm','abs_max','kurtosis','near_zero_fraction','zero_unit_count'])
),
tried AS (
    SELECT slot, statistic, model, value AS figure
    FROM weight_statistics('models', (FROM wanted))
    WHERE asked_for(slot, coalesce(getvariable('slot'), '*')) AND (SELECT count(*) >= 10 FROM models)
    WINDOW each AS (PARTITION BY slot, statistic)
    -- Every figure must be known for every model, and not be the same for all.
    QUALIFY count(*) OVER each = (SELECT count(*) FROM models) AND min(figure) OVER each < max(figure) OVER each
),
-- Ranks, centred and scaled to length 1, so that a correlation is a product; ties get the mean of their ranks.
figure_ranks AS MATERIALIZED (
    SELECT slot, statistic, list(centred / length ORDER BY model) AS ranks
    FROM (
        SELECT *, sqrt(sum(centred * centred) OVER (PARTITION BY slot, statistic)) AS length
        FROM (
            SELECT
                *, rank() OVER (PARTITION BY slot, statistic ORDER BY figure)
                + (count(*) OVER (PARTITION BY slot, statistic, figure) - 1) / 2
                - (count(*) OVER (PARTITION BY slot, statistic) + 1) / 2 AS centred
            FROM tried
        )
    )
    GROUP BY slot, statistic
),
metric_ranks AS MATERIALIZED (
    SELECT model, direction, centred / sqrt(sum(centred * centred) OVER ()) AS rank
    FROM (
        SELECT
            *, rank() OVER (ORDER BY value) + (count(*) OVER (PARTITION BY value) - 1) / 2
            - (count(*) OVER () + 1) / 2 AS centred
        FROM models
    )
    WHERE (SELECT min(value) < max(value) FROM models)
),
-- The shuffles depend on the seed and the models' names alone, so that every machine draws the same.
shuffles AS MATERIALIZED (
    SELECT draw, list(rank ORDER BY md5(concat_ws(' ', coalesce(getvariable('seed'), 0), draw, model))) AS ranks
    FROM metric_ranks CROSS JOIN range(1, coalesce(getvariable('permutations'), 999) + 1) AS draws(draw)
    GROUP BY draw
),
by_chance AS MATERIALIZED (
    SELECT draw, max(abs(list_inner_product(figure_ranks.ranks, shuffles.ranks))) AS greatest
    FROM shuffles CROSS JOIN figure_ranks
    GROUP BY draw
),
measured AS MATERIALIZED (
    SELECT
        slot, statistic,
        list_inner_product(ranks, (SELECT list(rank ORDER BY model) FROM metric_ranks)) AS rho
    FROM figure_ranks WHERE EXISTS (FROM metric_ranks)
),
correlations AS MATERIALIZED (
    SELECT slot, statistic, rho, (1 + count(*) FILTER (greatest >= abs(rho) - 1e-9)) / (1 + count(*)) AS p
    FROM measured CROSS JOIN by_chance
    GROUP BY slot, statistic, rho
),
cohort AS (
    SELECT
        count(*) FILTER (left_out IS NULL) AS models,
        (SELECT count(*) FROM correlations) AS figures,
        any_value(metric) AS metric, any_value(direction) AS direction,
        min(value) FILTER (left_out IS NULL) = max(value) FILTER (left_out IS NULL) AS constant,
        concat_ws(', ',
            counts(nullif(count(*) FILTER (left_out = 'another architecture'), 0), 'model')
                || ' of other architectures left out',
            counts(nullif(count(*) FILTER (left_out = 'earlier checkpoint'), 0), 'earlier checkpoint')
                || ' left out') AS left_out
    FROM judged
)
SELECT
    slot, statistic, rho, p,
    CASE WHEN rho * direction > 0 THEN 'higher' WHEN rho * direction < 0 THEN 'lower' END AS better_when,
    models,
    figures,
    concat_ws('; ',
        CASE
            WHEN models < 10
                THEN concat('no answer: ', counts(models, 'model'), ' of one architecture with a metric, 10 are needed')
            WHEN constant THEN concat('no answer: all models have the same ', metric)
            WHEN figures = 0 THEN 'no answer: no figure is known for all models and differs between them'
            WHEN p <= 0.05 THEN 'hardly chance'
            ELSE 'may be chance'
        END,
        CASE WHEN row_number() OVER by_strength = 1 THEN nullif(left_out, '') END
    ) AS verdict
FROM cohort LEFT JOIN correlations ON true
WINDOW by_strength AS (ORDER BY round(abs(rho), 9) DESC, slot, statistic)
ORDER BY round(abs(rho), 9) DESC, slot, statistic;
