"""Every hook a plugin may implement.

A plugin is a module: a Python file named with `--plugin`, or a package with an entry point in the group `wexport`.
Hooks grow by new arguments only, so a plugin that names the arguments it knows goes on working. One that needs a hook
or argument which not every wexport has says so in its module: `WEXPORT_API = 1`, the least `API` that will do.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pluggy

from wexport.model.extensions import Meaning, Statistic
from wexport.model.tensors import Model, Reader, Tensor

PROJECT = "wexport"
ENTRY_POINT_GROUP = "wexport"
API = 1
"""Raised with every hook or argument that is added."""

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


@hookspec
def wexport_meaning(tensor: Tensor, model: Model) -> Meaning | None:
    """What a tensor means, where its reader could not tell: asked for each tensor that lacks something.

    A whole plugin, for a layer class of one's own, whose first variable is a kernel (inputs, units) and whose second
    one scales the units:

        import wexport
        from wexport.reading import roles

        @wexport.hookimpl
        def wexport_meaning(tensor):
            if tensor.layer_class != "ScaledDense":
                return None
            if tensor.variable_index == 0:
                layout = roles.layout("Dense", "kernel", tensor.shape)
                return wexport.Meaning(role="kernel", layout=layout, trainable=True)
            return wexport.Meaning(role="scale", trainable=True)

    tensor: as the reader gave it. model: the file that it is in.

    Returns None for what is not its own. Only what the reader left out is filled in: a role that is "unknown", a layout
    or `trainable` that is None. A word that is not in `roles.ROLES`, or a layout that does not fit the shape, is told
    and left out. Where the reader left the end of the slot open, it becomes the role; tables that are to be compared
    are made with the same plugins.
    """


@hookspec
def wexport_statistics() -> Sequence[Statistic]:  # type: ignore[empty-body]
    """Statistics of one's own, for the table's column `extra`.

    A whole plugin, for the stable rank ||W||_F^2 / ||W||_2^2 of matrices and of kernels seen as (inputs, units):

        import numpy as np
        import wexport

        def stable_rank(values, tensor):
            if values.ndim < 2 or not values.any():
                return None
            singular = np.linalg.svd(values.reshape(-1, values.shape[-1]), compute_uv=False)
            return np.sum(singular**2) / singular[0] ** 2

        @wexport.hookimpl
        def wexport_statistics():
            return [wexport.Statistic(name="stable_rank", doc="||W||_F^2 / ||W||_2^2", of=stable_rank)]

    and `select slot, extra['stable_rank'] from weights` in a query.

    Returns the statistics. A value that is not finite, or an exception, is NULL in the table and told once. Their names
    and the plugin's version stand in the table's metadata: tables made with others are not added to.
    """


@hookspec
def wexport_queries() -> Sequence[Path | str]:  # type: ignore[empty-body]
    """Questions of one's own to a table: files as in the folder `queries` of wexport.

    A whole plugin:

        import wexport

        WIDEST = '''
        -- widest: Which layers of each model have most units?
        --
        -- Parameters
        --   top BIGINT = 3  layers of each model
        --
        -- Columns
        --   model               the model
        --   layer               the layer
        --   unit_count [units]  its output units
        --
        -- How to read it
        --   The widest layer of each model comes first.
        --
        -- What it does not prove
        --   That the width is needed.
        SELECT model, layer, unit_count
        FROM weights
        WHERE role = 'kernel' AND unit_count IS NOT NULL
        QUALIFY row_number() OVER (PARTITION BY model ORDER BY unit_count DESC, tensor_index)
            <= coalesce(getvariable('top'), 3)
        ORDER BY model, unit_count DESC, tensor_index;
        '''

        @wexport.hookimpl
        def wexport_queries():
            return [WIDEST]

    Returns folders of `.sql` files, as paths, or the text of a query each. `wexport query` lists them under the
    plugin's name and runs them as its own: in a locked session that reads the table alone. A name that wexport or
    another plugin has already is refused.
    """


@hookspec(firstresult=True)
def wexport_describe(living: object) -> Model | None:
    """What `wexport.ingest_model` is to write of an object in memory, such as a model that is being trained.

    A whole plugin, for models that are a mapping of names to NumPy arrays:

        import wexport

        @wexport.hookimpl
        def wexport_describe(living):
            if not isinstance(living, dict):
                return None
            tensors = [wexport.Tensor.of_array(name, array) for name, array in living.items()]
            return wexport.Model(format="dict", tensors=tensors)

    Returns None for what is not its own, quickly and without importing a framework: an object of a framework is there
    only if that has been imported. Values are read in this process, when the row of a tensor is made. A tensor whose
    values are never held whole brings its `figures`, made by a `wexport.measuring.Pass`. What a plugin raises is told
    under its name, a `wexport.UsageError` as it stands; the table is then left as it was.
    """
