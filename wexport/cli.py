"""The command line: parse, call, print. Each command is one call of the Python interface.

Only what every command needs is imported here, so that `wexport --help` is quick.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

import click

from wexport.commands.check import check
from wexport.commands.common import EXIT_INTERRUPTED, EXIT_NOTHING_DONE, EXIT_USAGE, say
from wexport.commands.compare import compare
from wexport.commands.demo import demo
from wexport.commands.diff import diff
from wexport.commands.ingest import ingest
from wexport.commands.inspect import inspect
from wexport.commands.new_plugin import new_plugin
from wexport.commands.plot import plot
from wexport.commands.plugins import plugins
from wexport.commands.query import query
from wexport.commands.report import report
from wexport.commands.schema import schema
from wexport.errors import UsageError, WexportError
from wexport.version import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="wexport")
def cli() -> None:
    """Turn saved models into one table of figures, and compare them.

    Start with: wexport ingest *.h5 --out weights.parquet
    """


for _command in (ingest, compare, query, check, diff, plot, report, inspect, schema, plugins, new_plugin, demo):
    cli.add_command(_command)


def main() -> NoReturn:
    """Entry point: no traceback reaches the user, and Ctrl-C leaves nothing behind."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        say("stopped before the end")
        sys.exit(EXIT_INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_USAGE)
    except WexportError as error:
        say(f"error: {error}")
        if error.hint:
            say(f"  {error.hint}")
        sys.exit(EXIT_USAGE if isinstance(error, UsageError) else EXIT_NOTHING_DONE)
    except BrokenPipeError:
        # The reader of our output is gone (`| head`); keep Python from complaining when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        say("stopped before the end")
        sys.exit(EXIT_INTERRUPTED)
    sys.exit(0)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
