"""What queries can find wrong with a model: each finding declared once, with what it means.

The SQL decides whether a finding is there, how bad it is in its place and what was seen. All else derives from here:
`check` asks the queries named here, the report and JUnit say what a finding means, and where the SQL has no advice that
fits the case better, the one here is given. A query may not find what is not declared: a test reads its SQL.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wexport.errors import UsageError


@dataclass(frozen=True, slots=True)
class FindingKind:
    """A finding of a query of the library.

    query, name: as the query's SQL has them; a name may mean something else in another query.
    severity: error, warning or info: its worst; a query may find it less severe in its place.
    meaning: what it is, in words for somebody who has not met it, as they stand in a sentence.
    threshold: where it begins.
    advice: what to do.
    """

    query: str
    name: str
    severity: str
    meaning: str
    threshold: str
    advice: str


_ALL = (
    FindingKind(
        "health", "nan", "error", "values that are not numbers", "one value",
        "return to an earlier checkpoint, and clip gradients or lower the learning rate",
    ),
    FindingKind(
        "health", "inf", "error", "infinite values", "one value",
        "return to an earlier checkpoint, and clip gradients or lower the learning rate",
    ),
    FindingKind(
        "health", "zero_tensor", "error", "a tensor of zeros alone", "every value is 0",
        "see whether it was loaded, and how it began",
    ),
    FindingKind(
        "health", "near_zero_tensor", "warning", "a tensor that is as good as zero",
        "every value is below 2^-10, or the norm of every unit below 0.01",
        "weaken weight decay",
    ),
    FindingKind(
        "health", "constant", "warning", "a tensor whose values are all the same", "the standard deviation is 0",
        "see its initialiser, and whether it was loaded",
    ),
    FindingKind(
        "health", "zero_units", "warning",
        "units whose incoming weights are all zero: they give the same output for every input",
        "all weights of a unit are 0", "cut them out, or decay less",
    ),
    FindingKind(
        "health", "collapsed_units", "warning",
        "units with next to no incoming weight: next to the others of their layer they do nothing",
        "the norm of a unit is below the share `collapse_ratio` of the larger norms", "cut them out, or decay less",
    ),
    FindingKind(
        "health", "zero_block", "warning",
        "a tensor that is zeros from some place on",
        "a tenth of its values at one end are 0, and next to none elsewhere",
        "see whether the file was written or converted whole",
    ),
    FindingKind(
        "health", "twin_units", "warning",
        "units that are copies of other units of their layer",
        "a twentieth of the units, and two, equal to five digits in norm and largest value",
        "begin with random values; of copies, keep one",
    ),
    FindingKind(
        "health", "rank_one", "warning",
        "a kernel whose units all have one profile, but for a factor",
        "norm over largest value of the units is equal to 1e-4",
        "see how it was loaded or converted",
    ),
    FindingKind(
        "health", "ordered_kernel", "warning",
        "a kernel whose values stand in the order of their size",
        "values and places correlate by more than 0.9",
        "see how it was loaded or converted",
    ),
    FindingKind(
        "health", "zero_inputs", "info", "inputs that the layer ignores", "all outgoing weights are below 2^-10",
        "see what feeds them",
    ),
    FindingKind(
        "dead_units", "dead_units", "warning",
        "units that are off for every usual input, by their weights and bias",
        "-bias over the norm and the root of the number of weights above `input_rms`, or neither a weight nor the bias "
        "above 0",
        "lower the learning rate, or begin with a bias of 0",
    ),
    FindingKind(
        "normalisation", "negative_variance", "error",
        "a moving variance below 0, whose root is not a number",
        "a variance below -1e-6",
        "see how it was converted, or return to an earlier checkpoint",
    ),
    FindingKind(
        "normalisation", "statistics_never_updated", "warning",
        "a normalisation that trained, and whose statistics are as they began",
        "all means 0 and all variances 1, while gamma or beta moved",
        "train in training mode, or count the statistics once over the data",
    ),
    FindingKind(
        "normalisation", "statistics_uniform", "warning",
        "a normalisation whose variances are all but equal: they hardly followed the data",
        "standard deviation of the variances below 1e-3 of their mean",
        "lower the momentum, or count the statistics once over the data",
    ),
    FindingKind(
        "normalisation", "vanishing_gamma", "warning",
        "channels that their normalisation switches off",
        "gamma below 1e-2 of the median, in a twentieth of the channels and two",
        "cut them out, or decay gamma less",
    ),
    FindingKind(
        "recurrence", "gate_shut", "warning",
        "a gate that passes next to nothing, whatever comes in",
        "mean bias below `lowest_bias`",
        "see how its bias began",
    ),
    FindingKind(
        "recurrence", "gate_open", "warning",
        "a gate that passes everything, whatever comes in",
        "mean bias above `highest_bias`",
        "see how its bias began",
    ),
    FindingKind(
        "recurrence", "gate_zero", "warning",
        "a gate whose weights are all zero beside gates that are not",
        "all weights of the gate are 0",
        "see how it was loaded or converted",
    ),
    FindingKind(
        "recurrence", "gate_scale", "warning",
        "a gate of quite another scale than the other gates of its layer",
        "standard deviation above `gate_factor` times the median of the gates, or below half of one over it",
        "see how it was loaded or converted, and the learning rate",
    ),
    FindingKind(
        "recurrence", "recurrent_scale", "warning",
        "a recurrent kernel so large that its units saturate",
        "standard deviation above `recurrent_factor` times that of the input kernel",
        "begin orthogonal, and clip gradients",
    ),
    FindingKind(
        "stability", "diverged", "error",
        "a model whose training diverged",
        "root mean square above `diverged_scale` in several tensors, or values that are not finite in half of the "
        "kernels",
        "return to an earlier checkpoint; lower the learning rate, or clip gradients",
    ),
    FindingKind(
        "stability", "exploding", "warning", "very large values",
        "a weight above `largest_value`, a moving statistic above `largest_statistic`, a kernel's root mean square "
        "above `largest_scale`",
        "lower the learning rate, or clip gradients",
    ),
    FindingKind(
        "stability", "outliers", "info", "a few values far beyond all others",
        "largest value above `outlier_deviations` standard deviations, and four times the 1 % and 99 % quantiles",
        "look at its histogram",
    ),
    FindingKind(
        "stability", "jump", "warning", "a tensor that moved much farther in one step than before",
        "`jump_factor` times the change of the steps before", "compare it with the checkpoint before",
    ),
    FindingKind(
        "stability", "model_jump", "warning", "a whole model that moved much farther in one step than before",
        "`jump_factor` times the change of the steps before, in three quarters of its tensors",
        "see the learning rate and the loss at this step",
    ),
    FindingKind(
        "siblings", "far_from_siblings", "warning",
        "a model with tensors of quite another scale than the other models of its architecture",
        "above `larger` times the median or below one part in `smaller`, and `deviations` robust deviations",
        "see what its training had that the others had not",
    ),
    FindingKind(
        "freeze", "frozen but changed", "warning", "a layer that is marked as frozen, and changed",
        "another content hash", "see whether it was frozen before compile",
    ),
    FindingKind(
        "freeze", "trainable but unchanged", "warning", "a layer that is marked as trainable, and did not change",
        "the same content hash", "see whether gradients reach it",
    ),
    FindingKind(
        "freeze", "partly unchanged", "info", "a layer of which a part did not change",
        "the same content hash in some of its tensors", "see whether gradients reach the part",
    ),
    FindingKind(
        "freeze", "statistics moved", "info", "running statistics that moved in a frozen layer",
        "another content hash", "freeze its mode of training too, if the statistics are to stay",
    ),
    FindingKind(
        "freeze", "nothing changed", "info", "a model of which no weight changed", "the same content hash everywhere",
        "see whether both files are what they should be",
    ),
    FindingKind(
        "untrained", "fresh model", "warning",
        "a model that seems never to have been trained",
        "no layer trained, one or more untrained",
        "train it, or see whether the right weights were saved",
    ),
    FindingKind(
        "untrained", "untrained", "warning",
        "a layer that seems never to have been trained",
        "within four standard errors of its initialiser, no constant moved",
        "see whether it was loaded by its right name, and whether gradients reach it",
    ),
    FindingKind(
        "untrained", "hardly trained", "warning",
        "a layer whose kernel is as good as at the start",
        "biases moved, the kernel within four standard errors of its initialiser",
        "train longer, or raise the learning rate",
    ),
    FindingKind(
        "untrained", "bias never moved", "warning",
        "a bias of zeros in a layer that trained, beside biases that moved",
        "all values 0, and most other biases of the model moved",
        "see whether it was loaded or converted whole",
    ),
    FindingKind(
        "untrained", "untouched rows", "warning",
        "an embedding most of whose rows were never trained",
        "four fifths of the rows as they were drawn",
        "see which words the data hold; leave out those that it never does",
    ),
    FindingKind(
        "outputs", "nan", "error", "outputs that are not numbers", "one value", "look at the first layer that has any",
    ),
    FindingKind(
        "outputs", "inf", "error", "infinite outputs", "one value", "look at the first layer that has any",
    ),
    FindingKind(
        "outputs", "constant_output", "warning", "a layer that gave the same for every input", "every unit",
        "see its weights, and whether it is saturated",
    ),
    FindingKind(
        "outputs", "dead_units", "warning", "units that gave zero for every input", "all values of a unit are 0",
        "lower the learning rate or its bias, use a leaky activation, or cut them out",
    ),
    FindingKind(
        "outputs", "constant_units", "warning", "units that gave the same for every input",
        "all values of a unit are alike",
        "see whether they are saturated; rescale the inputs",
    ),
    FindingKind(
        "gradients", "nan", "error", "gradients that are not numbers", "one value",
        "look for NaN in the outputs and the loss",
    ),
    FindingKind("gradients", "inf", "error", "infinite gradients", "one value", "clip gradients (clipnorm=1)"),
    FindingKind(
        "gradients", "zero_gradient", "warning", "a tensor that the loss does not depend on", "every value is 0",
        "see whether its units are dead, or the loss does not depend on it",
    ),
    FindingKind(
        "gradients", "vanishing_depth", "warning", "gradients that fade on their way to the first layers",
        "below `vanishing_depth` of the largest behind it",
        "use ReLU with He initialisation, normalisation, or shortcuts around layers",
    ),
    FindingKind(
        "gradients", "exploding_depth", "warning", "gradients that grow on their way to the first layers",
        "above `exploding_depth` times that of the last layer",
        "clip gradients (clipnorm=1), or begin with smaller weights",
    ),
    FindingKind(
        "gradients", "vanishing_time", "warning", "gradients that fade along time: early steps are not learnt from",
        "at the first step below `vanishing_time` of the last",
        "raise the forget bias, begin with orthogonal recurrent weights, or shorten sequences",
    ),
    FindingKind(
        "gradients", "exploding_time", "warning", "gradients that grow along time",
        "at the first step above `exploding_time` times the last",
        "clip gradients (clipnorm=1), or constrain the recurrent kernel (max_norm)",
    ),
    FindingKind(
        "gradients", "exploding_norm", "warning", "gradients that are very large taken together",
        "norm of all gradients above `largest_norm`", "clip gradients (global_clipnorm=1), or scale the targets",
    ),
)  # fmt: skip

SEVERITIES = ("error", "warning", "info")
"""The worst first."""
FINDINGS: Mapping[tuple[str, str], FindingKind] = {(each.query, each.name): each for each in _ALL}
"""By query and name."""
QUERIES = tuple(dict.fromkeys(each.query for each in _ALL))
"""The queries whose rows with a severity are findings, in the order in which `check` asks them."""
NO_FINDINGS = frozenset({"as marked", "cannot tell", "trained"})
"""Verdicts that never have a severity."""


def finding_kind(query: str, name: str) -> FindingKind:
    """The finding of that name. Raises UsageError if the query has none such."""
    try:
        return FINDINGS[query, name]
    except KeyError:
        known = ", ".join(each.name for each in _ALL if each.query == query) or "none"
        raise UsageError(f"the query {query} has no finding {name!r}", hint=f"it has: {known}") from None
