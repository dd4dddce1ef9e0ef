"""What findings and verdicts mean, in words for somebody who has not met them."""

from __future__ import annotations

from collections.abc import Mapping

from wexport.findings.checking import Finding
from wexport.terminal import text

MEANINGS: Mapping[str, str] = {
    "nan": "values that are no numbers",
    "inf": "infinite values",
    "zero_tensor": "a tensor of zeros alone",
    "near_zero_tensor": "a tensor that is as good as zero",
    "constant": "a tensor whose values are all the same",
    "zero_units": "units whose incoming weights are all zero: they give the same output for every input",
    "collapsed_units": "units with next to no incoming weight: beside the others of their layer they do nothing",
    "zero_inputs": "inputs that the layer ignores",
    "exploding": "very large values",
    "outliers": "a few values far beyond all others",
    "jump": "a tensor that moved much farther in one step than before",
    "model_jump": "a whole model that moved much farther in one step than before",
    "frozen but changed": "a layer that is marked as frozen, and changed",
    "trainable but unchanged": "a layer that is marked as trainable, and did not change",
    "partly unchanged": "a layer of which a part did not change",
    "statistics moved": "running statistics that moved in a frozen layer",
    "untrained": "a layer that seems never to have been trained",
    "fresh model": "a model that seems never to have been trained",
}
"""By the finding's name; one of your own rules speaks for itself."""


def meaning(finding: Finding) -> str:
    """What a finding is, with its name, by which tables and commands call it."""
    name = text.safe(finding.finding.replace("_", " "))
    words = MEANINGS.get(finding.finding)
    return f"{words} ({name})" if words else name
