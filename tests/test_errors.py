"""The tree of exceptions is what its docstring draws, and every one carries a hint."""

from __future__ import annotations

import re

import wexport
from wexport import errors


def tree() -> dict[str, type[Exception]]:
    return {name: value for name, value in vars(errors).items() if isinstance(value, type)}


def test_the_docstring_draws_every_exception_under_its_base() -> None:
    drawn = re.findall(r"^    ([│├└─ ]*)(\w+)", errors.__doc__ or "", re.MULTILINE)
    assert {name for _, name in drawn} == set(tree())
    parents: list[str] = []
    for branch, name in drawn:
        depth = len(branch) // 4
        del parents[depth:]
        if parents:
            assert tree()[name].__bases__ == (tree()[parents[-1]],)
        parents.append(name)


def test_all_are_public_and_carry_a_hint() -> None:
    for name, kind in tree().items():
        assert getattr(wexport, name) is kind
        assert kind("what", hint="way out").hint == "way out"  # type: ignore[call-arg]
