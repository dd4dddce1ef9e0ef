"""Where the command begins: `wexport`, and `python -m wexport`."""

from __future__ import annotations

import signal
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line."""
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:  # a module half imported has nothing to tidy up: Ctrl-C ends the process, without a traceback
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from wexport import cli
    from wexport.processes import forkserver

    forkserver.share_imports()
    cli.main(stoppable=ours)


if __name__ == "__main__":
    main()
