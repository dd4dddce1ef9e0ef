"""Plots from a table alone.

Every kind takes a table (a file, a folder of parts, a pattern, or what `connect` gives) and axes, and returns the
artists that it drew; nothing is shown. `figure` makes a whole figure, `save` writes it.

    fig, ax = plt.subplots()
    wexport.plot.histogram("weights.parquet", "dense/kernel", ax=ax)

    wexport.plot.save(wexport.plot.figure("histogram", "weights.parquet", slot="dense/kernel"), "kernel.svg")

Weights are drawn, or outputs or gradients of models that were run: `figure(..., kinds=["gradient"])`, or a table that
is `wexport.connect("weights.parquet", kinds=["gradient"])`. Several plots of one table are drawn quicker from what
`connect` gives than from its path.
"""

from wexport.plot.figures import KINDS, figure, save
from wexport.plot.filter_tiles import filters
from wexport.plot.gate_panels import gates
from wexport.plot.heatmaps import heatmap
from wexport.plot.histograms import histogram
from wexport.plot.output_curves import curves
from wexport.plot.output_maps import maps
from wexport.plot.profiles import profile
from wexport.plot.rankings import rank
from wexport.plot.scatters import scatter
from wexport.plot.similarities import similarity
from wexport.plot.trajectories import trajectory
from wexport.plot.unit_norms import units

__all__ = [
    "KINDS",
    "curves",
    "figure",
    "filters",
    "gates",
    "heatmap",
    "histogram",
    "maps",
    "profile",
    "rank",
    "save",
    "scatter",
    "similarity",
    "trajectory",
    "units",
]
