-- similarity: How alike are the models, every one with every other?
--
-- Parameters
--   model         VARCHAR = '*'  which models: a name, or a pattern with * and ?
--   min_coverage  DOUBLE = 0.5   pairs of which a smaller share of parameters match are not compared
--   close         DOUBLE = 0.1   models are close if their worst tensor's relative L2 is at most this
-- Columns
--   model_a                       one model
--   model_b                       the other
--   relation                      identical, rounded, same_but, same_run, close, related, strangers or not_comparable
--   similarity                    mean of the cosines of matched tensors, weighted by their sizes: -1 to 1
--   standard_error                of similarity, from the samples; 0 where the table holds all values
--   correlation                   of the values of matched matrices (kernels, embeddings), weighted by their sizes
--   null_similarity               the upper end of the correlation that independent trainings of these shapes have
--   relative_l2 [fraction]        length of the difference by the root mean square of both lengths: 0 to 2
--   worst_relative_l2 [fraction]  the same of the tensor that differs most, by the longer of the two: 0 to 2; NULL where
--     that one has values that are not finite
--   worst_slot                    that tensor, by its slot in model_a
--   changed [tensors]             tensors that differ by more than rounding, moving statistics included
--   lacking [tensors]             tensors of either model that have no partner in the other
--   differs                       the first three that differ; of models that are same_but, then those that one lacks
--   coverage [fraction]           share of the larger model's parameters that have a partner
--   tensors [tensors]             tensors that were matched, without statistics
--   match_method                  which of 'slot', 'name', 'order' and 'content' paired tensors; NULL where nothing matched
--   confidence                    of the least sure of these pairs: 0.5 is no better than another answer, 1 is certain
--   reason                        why there is no similarity
-- How to read it
--   The closest pairs come first, those that cannot be compared last, with the reason. A relation is the first of these
--   that holds. identical: every tensor has its equal. rounded: the same cast to another type, in which it may be stored or not. same_but: at least half
--   of the parameters are equal bit for bit (or at least half of the tensors with a tenth of the parameters, or as many
--   of the matrices as differ or are missing); `differs` tells which are not. same_run: checkpoints of one run. close: one architecture, and no tensor differs by
--   more than `close`, moving statistics included; of 28 pairs so close, 86 % agreed on 95 % of inputs. related: the
--   matrices correlate above what independent trainings give (null_similarity: 0.15, and 4.5 standard deviations of
--   chance), or as far below 0. strangers: they do not; independent trainings of one architecture are near 0, however alike they behave,
--   because hidden units stand in any order. not_comparable: too little is matched, or
--   no matrix has values that tell anything, as of models of constants. Two values differ if they are more than 3 standard errors apart. Moving
--   statistics are left out of similarity: they follow the data and are all positive, and would say that everything is
--   alike. Of two vectors, one of zeros and one of values, the cosine is 0. Relative_l2 also sees lengths: a model
--   scaled by 2 has similarity 1 and relative_l2 0.63. wexport compares any number of models up to 4,000 in Python, with
--   the same columns, and aligns models by all evidence; as SQL, up to 50, by slot, order and content, and sees casts
--   by the stored types alone.
-- What it does not prove
--   That two models behave alike because their weights are close, or differently because they are not.
FROM similarities(coalesce(getvariable('model'), '*'), coalesce(getvariable('min_coverage'), 0.5),
    coalesce(getvariable('close'), 0.1))
ORDER BY
    list_position(
        ['identical', 'rounded', 'same_but', 'same_run', 'close', 'related', 'strangers', 'not_comparable'], relation),
    similarity DESC NULLS LAST, model_a, model_b;
