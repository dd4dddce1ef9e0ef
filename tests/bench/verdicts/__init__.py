"""A yardstick for what wexport concludes: models whose state and origin are known, and how often it is right of them.

`make` trains the models, in an environment of its own; `truth` says what is true of them; `asked` asks wexport;
`scored` compares the two. `tests/bench/bench_verdicts.py` is the command.
"""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "jax")  # before anything here imports Keras
