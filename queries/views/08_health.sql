-- What is wrong with a tensor on its own.

-- The L2 norm below which a unit has collapsed beside its siblings: a thousandth of the norm that nine tenths of them
-- stay under. The fewer weights a unit has, the oftener chance makes it small (about norm ^ weights), so that the share
-- shrinks until it would hit a sound tensor once in a thousand times. units: the column; value_count: of the tensor.
CREATE OR REPLACE MACRO collapse_norm(units, value_count, ratio) AS
    least(ratio, (1e-3 / len(units)) ^ (len(units) / value_count))
    * list_sort([unit.l2_norm for unit in units])[ceil(0.9 * len(units))::BIGINT];

-- Whether groups (units, or inputs) whose weights are all near zero are more than chance makes: a hundredth of a group
-- expected, from the near-zero share of the other weights or the density at zero of a normal distribution of that std.
CREATE OR REPLACE MACRO more_than_chance(zero_groups, groups, value_count, near_zero_count, std) AS
    zero_groups > 0 AND groups * least(1, greatest(
        (near_zero_count - zero_groups * value_count / groups)
            / nullif(value_count - zero_groups * value_count / groups, 0),
        1 / 1024 / nullif(std, 0)
    )) ^ (value_count / groups) < 0.01;

-- The defects of a tensor, as words; an empty list is a sound one. All but NaN and Inf are for kernels alone.
--   nan, inf           values that are not finite
--   zero_tensor        every value is zero
--   near_zero_tensor   every value is below 2^-10 in magnitude
--   constant           every value is the same, and not zero
--   zero_units         units whose incoming weights are all zero; all near zero where `units` is NULL
--   collapsed_units    units whose norm is next to nothing beside the others', without being zero
CREATE OR REPLACE MACRO tensor_defects(
    role, value_count, nan_count, inf_count, zero_count, near_zero_count, std, unit_count, zero_unit_count, units,
    collapse_ratio := 1e-3
) AS list_filter([
    CASE WHEN nan_count > 0 THEN 'nan' END,
    CASE WHEN inf_count > 0 THEN 'inf' END,
    CASE WHEN is_kernel(role) AND zero_count = value_count AND value_count > 0 THEN 'zero_tensor' END,
    CASE WHEN is_kernel(role) AND near_zero_count = value_count AND zero_count < value_count AND value_count >= 4
        THEN 'near_zero_tensor' END,
    CASE WHEN is_kernel(role) AND std = 0 AND zero_count = 0 AND value_count >= 4 THEN 'constant' END,
    CASE WHEN is_kernel(role) AND near_zero_count < value_count AND unit_count > 1 AND CASE
        WHEN units IS NULL THEN more_than_chance(zero_unit_count, unit_count, value_count, near_zero_count, std)
        ELSE list_max([unit.zero_fraction for unit in units]) = 1 END THEN 'zero_units' END,
    CASE WHEN is_kernel(role) AND near_zero_count < value_count AND unit_count > 1 AND nan_count + inf_count = 0
        AND list_min([unit.l2_norm for unit in units if unit.zero_fraction < 1])
            < collapse_norm(units, value_count, collapse_ratio) THEN 'collapsed_units' END
], lambda word: word IS NOT NULL);
