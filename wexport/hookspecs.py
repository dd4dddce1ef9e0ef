"""Every hook a plugin may implement.

A plugin is a module: a Python file named with `--plugin`, or a package with an entry point in the group `wexport`.
Hooks grow by new arguments only, so a plugin that names the arguments it knows goes on working.
"""

from __future__ import annotations

from collections.abc import Sequence

import pluggy

from wexport.tensors import Model, Reader

PROJECT = "wexport"
ENTRY_POINT_GROUP = "wexport"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def wexport_readers() -> Sequence[Reader]:  # type: ignore[empty-body]  # a specification has no body
    """The formats that this plugin reads.

    A whole plugin, for files that hold the text `TOY1`, a count, and that many little-endian float32 values:

        import numpy as np
        import wexport

        def sniff(source: wexport.Source) -> float:
            return 0.9 if source.head.startswith(b"TOY1") else 0.0

        def open_toy(source: wexport.Source) -> wexport.Model:
            (count,) = np.frombuffer(source.read_at(4, 4), "<u4")
            values = np.frombuffer(source.read_at(8, 4 * int(count)), "<f4")
            return wexport.Model(format="toy", tensors=[wexport.Tensor.of_array("values", values)])

        @wexport.hookimpl
        def wexport_readers():
            return [wexport.Reader(name="toy", reads="TOY1 files", sniff=sniff, open=open_toy, suffixes=(".toy",))]

    Returns the readers; an empty list if the plugin has none on this machine. Both functions run in a child process
    with a budget of time and memory; what they raise is told to the user as the failure of that one file.
    """


@hookspec(firstresult=True)
def wexport_describe(living: object) -> Model | None:
    """What `wexport.ingest` is to write of an object in memory, such as a model that is being trained.

    A whole plugin, for models that are a mapping of names to NumPy arrays:

        import wexport

        @wexport.hookimpl
        def wexport_describe(living):
            if not isinstance(living, dict):
                return None
            tensors = [wexport.Tensor.of_array(name, array) for name, array in living.items()]
            return wexport.Model(format="dict", tensors=tensors)

    Returns None for what is not its own, quickly and without importing a framework: an object of a framework is there
    only if that has been imported. Values are read in this process, when the row of a tensor is made.
    """
