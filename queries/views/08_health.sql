-- What is wrong with a tensor on its own.

-- The L2 norm below which a unit has collapsed beside its siblings: a hundredth of the norm that nine tenths of the live
-- ones stay under. Live is what has more than a hundredth of the largest norm, so that a layer of which most has
-- collapsed is judged by what is left. The fewer weights a unit has, the oftener chance makes it small (about
-- norm ^ weights), so that the share shrinks until it would hit a sound tensor once in a thousand times.
-- units: the column; value_count: of the tensor.
CREATE OR REPLACE MACRO collapse_norm(units, value_count, ratio) AS
    least(ratio, (1e-3 / len(units)) ^ (len(units) / value_count)) * list_aggregate(
        [unit.l2_norm for unit in units
            if unit.l2_norm > 0.01 * list_max([each.l2_norm for each in units if isfinite(each.l2_norm)])],
        'quantile_disc', 0.9);

-- Whether groups (units, or inputs) whose weights are all near zero are more than chance makes: a hundredth of a group
-- expected, from the near-zero share of the other weights or the density at zero of a normal distribution of that std.
CREATE OR REPLACE MACRO more_than_chance(zero_groups, groups, value_count, near_zero_count, std) AS
    zero_groups > 0 AND groups * least(1, greatest(
        (near_zero_count - zero_groups * value_count / groups)
            / nullif(value_count - zero_groups * value_count / groups, 0),
        1 / 1024 / nullif(std, 0)
    )) ^ (value_count / groups) < 0.01;

-- Whether the norms of the units are all one: of a transform that somebody worked out (Fourier, wavelets), or of units
-- that are copies of each other. Training leaves no two norms equal.
CREATE OR REPLACE MACRO one_norm(units) AS coalesce(
    list_aggregate([unit.l2_norm for unit in units if unit.l2_norm > 0], 'quantile_disc', 0.75)
    <= 1.001 * list_aggregate([unit.l2_norm for unit in units if unit.l2_norm > 0], 'quantile_disc', 0.25), false);

-- How many units are copies of others, of those that hold anything: equal in norm and in largest value, to five digits.
CREATE OR REPLACE MACRO twin_count(units) AS
    len([unit for unit in units if unit.l2_norm > 0]) - list_unique([
        {'norm': printf('%.4e', unit.l2_norm), 'largest': printf('%.4e', unit.abs_max)}
        for unit in units if unit.l2_norm > 0]);

-- What units that are copies have in common: norm and largest value, to five digits.
CREATE OR REPLACE MACRO unit_marks(units) AS [printf('%.4e %.4e', unit.l2_norm, unit.abs_max) for unit in units];

-- Whether units of one norm and one largest value have the same values, too, up to the sign, as far as the sample tells:
-- for every input one value a mark. NULL where it holds less than eight values of an input beside another of that mark.
CREATE OR REPLACE MACRO copies_agree(sample, marks, abs_max) AS CASE
    WHEN len(sample.value) - list_unique([
        {'input': place // len(marks), 'mark': marks[place % len(marks) + 1]} for place in sample.index]) >= 8
    THEN list_unique([
            {'input': sample.index[i] // len(marks), 'mark': marks[sample.index[i] % len(marks) + 1],
                'value': round(abs(value) / abs_max, 4)}
            for value, i in sample.value])
        <= 1.02 * list_unique([
            {'input': place // len(marks), 'mark': marks[place % len(marks) + 1]} for place in sample.index]) END;

-- Whether every unit has the same profile but for a factor: norm over largest value are then all one.
CREATE OR REPLACE MACRO one_profile(units) AS coalesce(
    list_max([unit.l2_norm / unit.abs_max for unit in units if unit.abs_max > 0])
    <= 1.0001 * list_min([unit.l2_norm / unit.abs_max for unit in units if unit.abs_max > 0]), false);

-- Pearson's correlation of the values with their places in the canonical layout, of a kernel that begins with one half
-- of its values and ends with the other; else with their units, of one whose first unit has nothing of one half, or whose
-- last has; NULL of others, which are nearly all.
CREATE OR REPLACE MACRO order_correlation(sample, q50, units) AS
    CASE WHEN len(sample.value) >= 64 AND (
            list_max(sample.value[1:8]) < q50 AND list_min(sample.value[-8:]) > q50
            OR list_min(sample.value[1:8]) > q50 AND list_max(sample.value[-8:]) < q50)
        THEN list_cosine_similarity(
            [place - list_avg(sample.index) for place in sample.index],
            [value - list_avg(sample.value) for value in sample.value])
    WHEN len(sample.value) >= 64 AND len(units) >= 8 AND least(units[1].max, units[-1].max) < q50
        THEN list_cosine_similarity(
            [place % len(units) - (len(units) - 1) / 2 for place in sample.index],
            [value - list_avg(sample.value) for value in sample.value]) END;

-- How many values at one end of a list are zeros.
CREATE OR REPLACE MACRO leading_zeros(list_) AS
    coalesce(list_position([value <> 0 for value in list_], true) - 1, len(list_));

-- How large a share of the sample is zeros at one end, a tenth at least, in a tensor that has next to none elsewhere;
-- else NULL.
CREATE OR REPLACE MACRO zero_end(sample, zero_fraction) AS
    CASE WHEN zero_fraction >= 0.1 AND zero_fraction < 1 AND len(sample.value) >= 64
        AND greatest(leading_zeros(sample.value), leading_zeros(list_reverse(sample.value))) >= greatest(
            0.1 * len(sample.value), 0.99 * len([value for value in sample.value if value = 0]))
        THEN greatest(leading_zeros(sample.value), leading_zeros(list_reverse(sample.value))) / len(sample.value) END;

-- The tensors that are not sound by themselves, and their defects as words. All but NaN and Inf are for kernels alone,
-- or for tables of numbers that may be kernels. collapse_ratio: see collapse_norm.
--   nan, inf           values that are not finite
--   zero_tensor        every value is zero
--   near_zero_tensor   every value is below 2^-10 in magnitude, or no unit has a norm of 0.01
--   constant           every value is the same, and not zero
--   zero_units         units whose incoming weights are all zero; all near zero where `units` is NULL
--   zero_block         zeros from some place on to an end of the tensor, and none elsewhere
--   collapsed_units    units whose norm is next to nothing beside the others', without being zero
--   twin_units         units that are copies of others: a twentieth of all, and two
--   rank_one           the profile of every unit is the same but for a factor
--   ordered_kernel     the values stand in the order of their size
--   zero_inputs        inputs whose outgoing weights are all near zero
CREATE OR REPLACE MACRO tensor_defects(collapse_ratio) AS TABLE
SELECT model, kind, slot, list_filter([
    CASE WHEN nan_count > 0 THEN 'nan' END,
    CASE WHEN inf_count > 0 THEN 'inf' END,
    CASE WHEN may_be_kernel(role, canonical_shape, dtype) AND zero_count = value_count AND value_count > 0
        THEN 'zero_tensor' END,
    CASE WHEN (is_kernel(role) OR named_weight(role, tensor, canonical_shape, dtype) AND named_projection(tensor)
                -- An adapter begins with zeros, and its first steps are small.
                AND NOT contains(lower(slot), 'lora_b'))
            AND zero_count < value_count AND value_count >= 4 AND (near_zero_count = value_count
            OR nan_count + inf_count = 0 AND role <> 'embeddings' AND unit_count > 1
                AND list_max([unit.l2_norm for unit in units]) < 0.01)
        THEN 'near_zero_tensor' END,
    CASE WHEN may_be_kernel(role, canonical_shape, dtype) AND std = 0 AND zero_count = 0 AND value_count >= 4
        THEN 'constant' END,
    CASE WHEN is_kernel(role) AND near_zero_count < value_count AND unit_count > 1 AND CASE
        WHEN units IS NULL THEN more_than_chance(zero_unit_count, unit_count, value_count, near_zero_count, std)
        ELSE list_max([unit.zero_fraction for unit in units]) = 1 END THEN 'zero_units' END,
    CASE WHEN may_be_kernel(role, canonical_shape, dtype) AND zero_end(sample, zero_count / value_count) IS NOT NULL THEN 'zero_block' END,
    CASE WHEN is_kernel(role) AND near_zero_count < value_count AND unit_count > 1 AND nan_count + inf_count = 0
        AND list_min([unit.l2_norm for unit in units if unit.zero_fraction < 1])
            < collapse_norm(units, value_count, collapse_ratio) THEN 'collapsed_units' END,
    -- Few values, as of a quantised or a worked out kernel, make equal units by themselves.
    CASE WHEN is_kernel(role) AND std > 0 AND nan_count + inf_count = 0 AND unit_count > 2
        AND value_count >= 4 * unit_count AND twin_count(units) >= greatest(2, 0.05 * unit_count)
        AND list_unique(sample.value) > 16
        AND coalesce(copies_agree(sample, unit_marks(units), abs_max), NOT one_norm(units)) THEN 'twin_units' END,
    CASE WHEN is_kernel(role) AND std > 0 AND nan_count + inf_count = 0 AND unit_count >= 4
        AND value_count >= 4 * unit_count AND one_profile(units) AND NOT one_norm(units)
        AND list_unique(sample.value) > 16 THEN 'rank_one' END,
    CASE WHEN is_kernel(role) AND std > 0 AND abs(order_correlation(sample, q50, units)) > 0.9 THEN 'ordered_kernel' END,
    CASE WHEN is_kernel(role) AND near_zero_count < value_count
        AND more_than_chance(zero_input_count, input_count(layer_class, role, canonical_shape), value_count,
            near_zero_count, std) THEN 'zero_inputs' END
], lambda word: word IS NOT NULL) AS defects
FROM weights
-- Most tensors show at a glance that nothing can be wrong.
WHERE (nan_count + inf_count > 0 OR may_be_kernel(role, canonical_shape, dtype)) AND len(defects) > 0;
