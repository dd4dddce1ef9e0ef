-- Closeness: two vectors x and y by the sums of a sample of pairs, with d = y - x; nearly equal ones lose no digits.
-- `sums` is a struct of n, x2 (sum of x^2), y2, xy, xd, d2, x4, x3d (sum of x^3 d), x2d2, xd3, d4 and d_max (largest |d|).
-- For a cosine, either vector is first divided by its largest magnitude, or that of a much shorter one would be lost.
-- `gap` is length_gap(sums), `distance` cosine_distance(sums, gap), as columns of a query beneath: what macros repeat
-- within each other grows with every level, and then to plan takes longer than to work it out.

-- A number that can only be negative by rounding; NULL stays NULL, which greatest() would not see. Not by CASE: what
-- stands twice in one is worked out twice, and these are nested.
CREATE OR REPLACE MACRO not_negative(number) AS (number + abs(number)) / 2;

-- Powers are written as products: pow() takes many times as long.
CREATE OR REPLACE MACRO fourth_power(number) AS number * number * (number * number);

-- |y| - |x|.
CREATE OR REPLACE MACRO length_gap(sums) AS (2 * sums.xd + sums.d2) / nullif(sqrt(sums.x2) + sqrt(sums.y2), 0);

-- How far d goes along the shorter of the two vectors. Of a y much shorter than x, nothing is left in d.
CREATE OR REPLACE MACRO along_shorter(sums) AS CASE
    WHEN sums.y2 >= sums.x2 THEN sums.xd / nullif(sqrt(sums.x2), 0)
    WHEN sums.y2 >= sums.x2 / 4 THEN (sums.xd + sums.d2) / nullif(sqrt(sums.y2), 0)
    ELSE (sums.y2 - sums.xy) / nullif(sqrt(sums.y2), 0) END;

-- 1 - cosine: half the square of the difference of x / |x| and y / |y|, from d, by the longer vector's square: a vector
-- of any length keeps its digits beside one of any other.
CREATE OR REPLACE MACRO cosine_distance(sums, gap) AS not_negative(
    (gap * gap - 2 * gap * along_shorter(sums) + sums.d2)
    / nullif(2 * greatest(sums.x2, sums.y2), 0));

-- What the sampling adds to a sum of squared contributions: n of N values without replacement.
CREATE OR REPLACE MACRO sampling_factor(n, value_count) AS
    not_negative(1 - n / value_count) * n / nullif(n - 1, 0);

-- Standard error of |d| / |x| (delta method). The largest contribution counts twice: where few values of many changed,
-- a sample would otherwise look surer than it is.
CREATE OR REPLACE MACRO relative_l2_se(sums, value_count) AS sqrt(not_negative(sampling_factor(sums.n, value_count) * (
        sums.d4 - 2 * sums.d2 / sums.x2 * sums.x2d2 + sums.d2 / sums.x2 * (sums.d2 / sums.x2) * sums.x4
        + fourth_power(sums.d_max))))
    / nullif(2 * sqrt(sums.d2) * sqrt(sums.x2), 0);

-- The same for a contribution a x^2 + b x d + c d^2.
CREATE OR REPLACE MACRO cosine_se_of(sums, factor, a, b, c) AS sqrt(not_negative(factor * (
    a * a * sums.x4 + 2 * a * b * sums.x3d + (b * b + 2 * a * c) * sums.x2d2 + 2 * b * c * sums.xd3
    + c * c * (sums.d4 + fourth_power(sums.d_max)))));

-- Standard error of the cosine in the same way.
CREATE OR REPLACE MACRO cosine_se(sums, value_count, distance, gap) AS cosine_se_of(
    sums, sampling_factor(sums.n, value_count),
    (distance * (1 / sums.x2 + 1 / sums.y2) - gap * gap / (sums.x2 * sums.y2)) / 2,
    distance / sums.y2 + gap / (sqrt(sums.x2) * sums.y2),
    (distance - 1) / (2 * sums.y2));
