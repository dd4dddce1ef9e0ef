"""How each statistic of the table is defined, by which convention, and what it is often mistaken for.

w are a tensor's values (or a gate's, or a unit's), n of them, N finite; sums and extremes are over the finite ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Formula:
    """A definition. formula: in w, n and N. convention: where definitions differ, which. pitfall: what it is not."""

    formula: str
    convention: str
    pitfall: str


_QUANTILE = Formula(
    "inf{x : F(x) >= p}, linear between the two order statistics around (N - 1) p",
    "NumPy's 'linear' (type 7); exact up to 65,536 values and for types of at most 16 bits, else each order statistic "
    "is off by less than 2^-7 of its magnitude",
    "Not to be averaged over tensors: the quantile of two tensors together comes from their histograms, which add up.",
)

FORMULAS: Mapping[str, Formula] = {
    "value_count": Formula(
        "n", "product of the shape; 1 for a scalar", "Parameters of the model only where kind is 'weight'."
    ),
    "nan_count": Formula("#{w is NaN}", "exact", "All other statistics leave these values out, so look here first."),
    "inf_count": Formula("#{|w| = inf}", "both signs together; exact", "As for nan_count."),
    "zero_count": Formula(
        "#{w = 0}", "+0 and -0 alike; exact", "A quantised tensor has exact zeros that no pruning put there."
    ),
    "near_zero_count": Formula(
        "#{|w| < 2^-10}",
        "zeros included; exact",
        "The edge is absolute: a layer of small weights has many and is well. Any other edge: the view histogram.",
    ),
    "zero_fraction": Formula("zero_count / n", "of all values, NaN too", "NULL for an empty tensor, not 0."),
    "near_zero_fraction": Formula("near_zero_count / n", "of all values, NaN too", "As for near_zero_count."),
    "nan_fraction": Formula("nan_count / n", "of all values", "Infinities are not in it."),
    "mean": Formula(
        "sum(w) / N",
        "float64, merged block by block around a running mean; within 1e-9 of abs_mean",
        "Near 0 for most kernels: its relative error says nothing, its ratio to std does.",
    ),
    "std": Formula(
        "sqrt(sum((w - mean)^2) / N)",
        "of the population (ddof 0); 0 for a constant",
        "torch's default divides by N - 1.",
    ),
    "skewness": Formula(
        "sum((w - mean)^3) / N / std^3",
        "biased (Fisher-Pearson g1); NULL for a constant",
        "Its sampling error is sqrt(6 / N): for a bias of 16 values anything below 1 is chance.",
    ),
    "kurtosis": Formula(
        "sum((w - mean)^4) / N / std^4 - 3",
        "excess, biased (g2): 0 for a normal, -1.2 for a uniform distribution; NULL for a constant",
        "Some tools give it without the -3. One outlier decides it, and its sampling error is sqrt(24 / N).",
    ),
    "min": Formula(
        "min(w)", "of finite values", "A lowest value far below q01 is an outlier, or a tensor of two populations."
    ),
    "max": Formula("max(w)", "of finite values", "Signed: for the largest size see abs_max."),
    "abs_max": Formula("max(|w|)", "of finite values", "Grows with the number of values; one outlier decides it."),
    "abs_mean": Formula("sum(|w|) / N", "of finite values", "0.8 std for a normal distribution around 0, not std."),
    "l1_norm": Formula("sum(|w|)", "of finite values", "Grows with N: compare tensors of one shape, or use abs_mean."),
    "l2_norm": Formula(
        "sqrt(sum(w^2))",
        "Frobenius norm of the whole tensor; within 1e-9",
        "Grows with sqrt(N), and is not a spectral norm. For tensors of several shapes use rms = l2_norm / sqrt(N).",
    ),
    "q01": _QUANTILE,
    "q05": _QUANTILE,
    "q25": _QUANTILE,
    "q50": _QUANTILE,
    "q75": _QUANTILE,
    "q95": _QUANTILE,
    "q99": _QUANTILE,
    "unit_count": Formula(
        "product of the canonical shape over unit_axes",
        "filters, neurons, hidden units; the gates of a recurrent layer count once",
        "NULL for vectors and where no axis is known to be units.",
    ),
    "zero_unit_count": Formula(
        "#{units whose incoming |w| are all < 2^-10}",
        "over all gates of a recurrent unit; a NaN is not near zero",
        "Not a dead unit: it may have a bias. Nor is every dead ReLU in it: large weights can be off for all inputs.",
    ),
    "zero_input_count": Formula(
        "#{inputs whose outgoing |w| are all < 2^-10}",
        "inputs of this tensor: channels or features",
        "An input may be constant in the data, and its weights decayed for good reason.",
    ),
    "content_hash": Formula(
        "xxh3-128(dtype, shape, values)",
        "little-endian, C order, as stored",
        "Equal hashes are equal values; values that differ in dtype, or in the sign of a zero, differ.",
    ),
    "gates": Formula(
        "the statistics above, over the values of one gate",
        "i f c o for LSTM, z r h for GRU, whatever the order in the file; the bias of a GRU with two is both together",
        "torch keeps two biases where an LSTM of Keras keeps their sum: a gate's bias is the sum of both.",
    ),
    "units": Formula(
        "per unit: sqrt(sum(w^2)), max(|w|), #{w = 0} / n over its incoming weights",
        "in the order of the canonical layout; NULL above 4,096 units",
        "Small beside its siblings is what tells, not small: the next layer may scale it up.",
    ),
    "histogram": Formula(
        "counts in bins [2^k (1 + j/8), 2^k (1 + (j + 1)/8)), mirrored for negative values",
        "the same edges for every tensor; empty bins left out; zero has a bin of its own",
        "Bins are not equally wide: divide by the width before you draw a density.",
    ),
    "sample": Formula(
        "w at one hashed place in each of 1,024 equal strata",
        "all values up to 1,024; places depend on the canonical shape alone",
        "Statistics over it have a sampling error: a correlation from 1,024 values is known to about 0.03.",
    ),
    "grid": Formula(
        "sqrt(mean(w^2)) over blocks",
        "rows are inputs, columns units, at most 32 x 32",
        "Signs are lost, and a block may hold one large weight among many small ones.",
    ),
    "extra": Formula(
        "as the plugin declares",
        "a map from names to numbers; NULL where none is defined",
        "Only tables that were made with the same plugins line up.",
    ),
}
"""By column. Words and places (model, slot, role, shape, ...) are not statistics."""
