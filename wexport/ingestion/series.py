"""Places in a training run: the run and the step of each checkpoint, from the names of all files together."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from wexport.errors import UsageError

Place = tuple[str | None, int | None]
"""(run, step); (None, None) for what is not a checkpoint."""

# A checkpoint's number stands behind a word that says so. `n_steps_10` and `epochs_2` are hyperparameters: a number of
# something, not a place in it.
_WORD = re.compile(
    r"(?<![A-Za-z])(?P<word>epoch|step|ckpt|checkpoint|iter|iteration|global_step)(?P<mark>[-_.=]?)(?P<step>\d{1,15})"
    r"(?![A-Za-z\d])",
    re.IGNORECASE,
)
_COUNTED = re.compile(
    r"(?<![A-Za-z])(n|nb|num|no|max|total|time|look_?back|per|warmup|decay|accum\w*|k)[-_]$", re.IGNORECASE
)
"""Before such a word a number counts something."""
_WEIGHTS = re.compile(
    r"(?<![A-Za-z])(?P<word>weights(?:-improvement)?)(?P<mark>[.-])(?P<step>\d{1,6})(?![A-Za-z\d])", re.I
)
# Names that need siblings to be checkpoints: alone, the number may be anything.
_WEAK = (
    # {epoch:02d}-{val_loss:.2f}, model.05-0.23
    re.compile(r"(?P<stem>(?:.*[^\d._-][._-])?)(?P<step>\d{1,6})[-_](?:[a-z_]+[=_-]?)?\d+\.\d+"),
    # ep005-loss12.1-val_loss13.2
    re.compile(
        r"(?P<stem>(?:.*[._-])?)ep[-_.]?(?P<step>\d{1,6})(?:[-_.](?:val_?)?(?:loss|acc|accuracy|score).*)?", re.I
    ),
    # model-005, cp-0010, cp-0010-best: as many digits in each, with zeros before
    re.compile(
        r"(?P<stem>(?:.*[._-])?(?:model|net|cp|cpt|chk|chkpt|save|saved|snapshot|state|params|weights)[-_.])"
        r"(?P<padded>(?P<step>\d{3,8}))",
        re.I,
    ),
)
_HYPERPARAMETER = (
    r"epochs|steps|units?|hidden|layers?|blocks?|batch(?:[-_]?size)?|bs|size|dim|width|depth|heads?|filters?|channels?|"
    r"window|look_?back|horizon|seed|fold|cv|trial|lr|rate|decay|wd|dropout|momentum|alpha|beta|gamma|lambda|temperature"
)
_OF_HYPERPARAMETER = re.compile(rf"(?<![A-Za-z])(?:{_HYPERPARAMETER})[-_=.]?$", re.IGNORECASE)
_THEN_HYPERPARAMETER = re.compile(rf"[-_](?:{_HYPERPARAMETER})[-_=]?\d", re.IGNORECASE)
"""Before the number, and behind it: `epochs_10_lr_0.1` is a setting, not a place in a run."""
_DATE = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])?|(19|20)\d\d(?=[-_.]\d)")
# What changes from checkpoint to checkpoint: the value of a metric, a date or a time, with the word before it.
_CHANGING = re.compile(
    r"(?:[-_.]?(?:(?:val|valid|train|test)[-_]?)?(?:loss|acc|accuracy|auc|mae|mse|rmse|f1|score|error|metric|dice|iou|map|"
    r"perplexity|ppl|bleu)[-_=]?-?\d+(?:\.\d+)?|[-_=]-?\d+\.\d+|[-_.]?(?:19|20)\d\d[-_]?\d\d[-_]?\d\d(?:[-_T]?\d{4,6})?)",
    re.IGNORECASE,
)


MOST_STEPS = 2**63 - 1
"""What the column `step` can hold."""


@dataclass(frozen=True, slots=True)
class _Found:
    run: str
    step: int
    width: int
    """Digits, where they must be as many in all siblings; 0 for any."""


def series(models: Sequence[str], pattern: re.Pattern[str] | None = None) -> list[Place]:
    """The run and step of each model of a table, from all names together.

    A word (`epoch`, `step`, `ckpt`, `weights.`) says of a name by itself that it is a checkpoint. Without one, as in
    Keras' `{epoch:02d}-{val_loss:.2f}` or `model-005`, there must be several that differ in nothing but the number and
    the values of metrics. What else stands in a name (`fold1`) is the run's.

    pattern: overrides it; a regular expression with a group `step` and, if it likes, a group `run`. Raises UsageError
        where it reads a step that is too large for a table.
    """
    if pattern is not None:
        return [_by_pattern(model, pattern) for model in models]
    sure = [_by_word(model) for model in models]
    weak = [None if found is not None else _by_number(model) for model, found in zip(models, sure, strict=True)]
    siblings: dict[tuple[str, int], set[int]] = defaultdict(set)
    for found in weak:
        if found is not None:
            siblings[found.run, found.width].add(found.step)
    weak = [None if found is None or len(siblings[found.run, found.width]) < 2 else found for found in weak]
    chosen = [one or other for one, other in zip(sure, weak, strict=True)]
    return [(None, None) if found is None else (found.run, found.step) for found in chosen]


def _by_pattern(model: str, pattern: re.Pattern[str]) -> Place:
    found = None
    for found in pattern.finditer(model):  # noqa: B007  # the last match is the innermost
        pass
    groups = {} if found is None else found.groupdict()
    try:
        step = int(groups["step"])
    except (KeyError, TypeError, ValueError):
        return None, None
    checked_step(step, f"the step of {model!r}, as --series reads it,")
    if found is None or groups.get("run") is not None:
        return groups.get("run"), step
    rest = model[found.end() :].partition("/")[2]
    return "/".join(part for part in (model[: found.start()].rstrip("/-_.= "), rest) if part) or ".", step


def checked_step(step: int, what: str) -> int:
    """A step, if the table can hold it. Raises UsageError where not; what: what it is called."""
    if not -MOST_STEPS <= step <= MOST_STEPS:
        raise UsageError(f"{what} is {str(step)[:40]}, and {MOST_STEPS} is the highest that there is")
    return step


def _by_word(model: str) -> _Found | None:
    """By the innermost folder or file whose name has a word and a number."""
    parts = model.split("/")
    for place in range(len(parts) - 1, -1, -1):
        part = parts[place]
        found = [match for match in _WORD.finditer(part) if not _COUNTED.search(part[: match.start()])]
        found += [match for match in _WEIGHTS.finditer(part) if not _DATE.match(part[match.start("step") :])]
        if not found:
            continue
        # Of an epoch and a step in one name the step is the finer.
        finest = max(found, key=lambda match: ("step" in match["word"].lower(), match.start()))
        if _DATE.fullmatch(finest["step"]) and len(finest["step"]) >= 6:
            continue
        name = part
        for match in sorted(found, key=lambda match: -match.start()):
            kept = match["word"] if match["word"].lower().startswith("weights") else ""
            name = f"{name[: match.start()]}{kept}{name[match.end() :]}"
        run = _run(parts[:place], name, parts[place + 1 :])
        return _Found(run or finest["word"].lower(), int(finest["step"]), 0)
    return None


def _by_number(model: str) -> _Found | None:
    folder, _, name = model.rpartition("/")
    for pattern in _WEAK:
        found = pattern.fullmatch(name)
        if found is None or _DATE.match(found["step"] + name[found.end("step") :]):
            continue
        if _OF_HYPERPARAMETER.search(found["stem"]) or _THEN_HYPERPARAMETER.match(name[found.end("step") :]):
            continue
        padded = found.groupdict().get("padded")
        run = _run([folder] if folder else [], found["stem"], [])
        return _Found(run or ".", int(found["step"]), len(padded) if padded else 0)
    return None


def _run(before: Sequence[str], name: str, after: Sequence[str]) -> str:
    """The name of the run: all that is not the number, nor changes with it."""
    plain = re.sub(r"([-_.= ])[-_.= ]+", r"\1", _CHANGING.sub("", name)).strip("-_.= ")
    return "/".join(part for part in (*before, plain, *after) if part)


def series_pattern(text: str) -> re.Pattern[str]:
    """Compiles what `--series` was given; raises UsageError if it is not a regular expression with a group `step`."""
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise UsageError(f"--series {text!r} is not a regular expression: {error}") from None
    if "step" not in pattern.groupindex:
        raise UsageError(
            f"--series {text!r} has no group named step", hint=r"e.g. --series '(?P<run>.*)_(?P<step>\d+)'"
        )
    return pattern


def describe(places: Sequence[Place]) -> list[str]:
    """The runs that were seen, in words, the longest first."""
    runs: dict[str, list[int]] = defaultdict(list)
    for run, step in places:
        if run is not None and step is not None:
            runs[run].append(step)
    longest = sorted(runs.items(), key=lambda item: (-len(item[1]), item[0]))
    return [
        f"{run}: {len(steps):,} checkpoints, steps {min(steps)} to {max(steps)}"
        if len(steps) > 1
        else f"{run}: 1 checkpoint, step {steps[0]}"
        for run, steps in longest
    ]
