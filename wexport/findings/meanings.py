"""What a finding means, in words for somebody who has not met it."""

from __future__ import annotations

from wexport.findings.finding import Finding
from wexport.library.findings import FINDINGS
from wexport.terminal import text


def meaning(finding: Finding) -> str:
    """What a finding is, with its name, by which tables and commands call it; your own rules' is their name alone."""
    name = text.safe(finding.finding.replace("_", " "))
    kind = FINDINGS.get((finding.query, finding.finding))
    return f"{kind.meaning} ({name})" if kind else name
