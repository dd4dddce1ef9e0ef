-- What the name of a metric says: on which part of the data, and whether more is better.

-- A column's name as words: 'Val Accuracy (%)' is val_accuracy.
CREATE OR REPLACE MACRO metric_word(name) AS trim(lower(regexp_replace(name, '[^\pL\pN]+', '_', 'g')), '_');

-- The same without the part of the data that it was measured on: val_accuracy is accuracy.
CREATE OR REPLACE MACRO metric_stem(word) AS regexp_replace(regexp_replace(
    word, '^(val|valid|validation|eval|dev|test|train|training)_', ''), '_(val|valid|validation|test|train)$', '');

-- Whether it was measured on data that the model was not fitted to, and that is not kept for the last judgement.
CREATE OR REPLACE MACRO is_validation(word)
AS regexp_matches(word, '^(val|valid|validation|eval|dev)_|_(val|valid|validation)$');

-- 1 where more is better, -1 where less is, NULL where the name does not tell. scikit-learn's neg_ turns it round.
CREATE OR REPLACE MACRO metric_direction(word) AS CASE
    WHEN regexp_matches(metric_stem(word), '^neg_.*(loss|error|deviance|brier_score)$') THEN 1
    WHEN regexp_matches(metric_stem(word), '(^|_)(log_likelihood|elbo)$') THEN 1
    WHEN regexp_matches(metric_stem(word), '(^|_)(' || concat_ws('|',
        'loss', 'error', 'err', 'mse', 'rmse', 'mae', 'mape', 'smape', 'msle', 'rmsle', 'nll', 'log_loss', 'logloss',
        'cross_?entropy', 'perplexity', 'ppl', 'hinge', 'logcosh', 'deviance', 'kl_divergence', 'kld', 'brier(_score)?',
        'wer', 'cer', 'fid', 'ece', 'eer', 'false_(positive|negative)s?(_rate)?') || ')(_\d+)?$') THEN -1
    WHEN regexp_matches(metric_stem(word), '(^|_)(' || concat_ws('|',
        'accuracy', 'acc', 'auc', 'auroc', 'auprc', 'precision', 'recall', 'sensitivity', 'specificity', 'map', 'mrr',
        'ndcg', 'f\d+', 'f\d*_?(score|measure|macro|micro|weighted)', 'dice(_score|_coef|_coefficient)?',
        'io_?u(_score)?', 'jaccard(_score|_index)?', 'r2', 'r2_score', 'r_squared', 'mcc', 'kappa', 'matthews_corrcoef',
        'psnr', 'ssim', 'bleu', 'rouge(_?[12l])?', 'meteor', 'true_(positive|negative)s?(_rate)?') || ')(_\d+)?$') THEN 1
END;
