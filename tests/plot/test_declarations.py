"""A kind of plot is a function, a command of the same name, and a doc; none of them without the others."""

from __future__ import annotations

import importlib
import inspect

import pytest

from wexport import plot
from wexport.commands.plot import plot as command

OWN = {"table", "out", "overwrite", "size", "kinds", "dpi", "dark"}
"""Options of the command that are not arguments of the function, or are of every one."""


def function(kind: str) -> object:
    module, _, name = plot.KINDS[kind].partition(":")
    return getattr(importlib.import_module(module), name)


def test_commands_and_kinds_are_the_same() -> None:
    assert set(command.commands) == set(plot.KINDS)


@pytest.mark.parametrize("kind", plot.KINDS)
def test_a_kind_is_public_and_has_its_doc(kind: str) -> None:
    assert kind in plot.__all__
    assert getattr(plot, kind) is function(kind)
    assert inspect.getdoc(function(kind))
    assert command.commands[kind].help


@pytest.mark.parametrize("kind", plot.KINDS)
def test_a_commands_options_are_the_functions(kind: str) -> None:
    module = importlib.import_module(plot.KINDS[kind].partition(":")[0])
    drawn = getattr(module, "whole", None) or function(kind)
    arguments = inspect.signature(drawn).parameters.keys() | inspect.signature(function(kind)).parameters.keys()
    asked = {parameter.name for parameter in command.commands[kind].params}
    assert asked - arguments - OWN == set()
    assert arguments - asked - {"ax", "table", "size", "kinds"} == set()
