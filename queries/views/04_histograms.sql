-- The edges of the histograms, and how many values lie below one.

-- The edge of the histograms' bins that is nearest to a magnitude: 2^k (1 + j/8), at least 2^-126.
CREATE OR REPLACE MACRO histogram_edge(magnitude) AS
    CASE WHEN magnitude > 0 AND magnitude < 'infinity'::DOUBLE
        THEN greatest(
            pow(2, floor(log2(magnitude))) * (1 + round((magnitude / pow(2, floor(log2(magnitude))) - 1) * 8) / 8),
            pow(2, -126))
        ELSE error('a threshold is a positive number') END;

-- How many values of a histogram are nearer to zero than one of its edges.
CREATE OR REPLACE MACRO count_below(bins, edge) AS
    CASE WHEN bins IS NOT NULL
        THEN coalesce(
            list_sum([c for c, i in bins.count if greatest(abs(bins.lower[i]), abs(bins.upper[i])) <= edge]), 0)
    END;

-- How many values of a histogram lie between two of its edges in magnitude, of either sign.
CREATE OR REPLACE MACRO count_between(bins, low, high) AS count_below(bins, high) - count_below(bins, low);

-- The share of values that is spread evenly from -edge to edge and ends there: the step of the density at the edge, from
-- what lies in the half octave on either side, as a share of an even density; less two standard errors.
CREATE OR REPLACE MACRO bounded_share(bins, edge) AS CASE WHEN bins IS NOT NULL AND edge > 0 THEN
    edge / list_sum(bins.count) * (
        count_between(bins, histogram_edge(edge * 0.62), histogram_edge(edge * 0.94))
            / (histogram_edge(edge * 0.94) - histogram_edge(edge * 0.62))
        - count_between(bins, histogram_edge(edge * 1.07), histogram_edge(edge * 1.5))
            / (histogram_edge(edge * 1.5) - histogram_edge(edge * 1.07))
        - 2 * sqrt(count_between(bins, histogram_edge(edge * 0.62), histogram_edge(edge * 0.94)))
            / (histogram_edge(edge * 0.94) - histogram_edge(edge * 0.62))) END;
