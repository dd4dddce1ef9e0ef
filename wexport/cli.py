"""The command line: parse, call, print. Each command is one call of the Python interface.

Only what every command needs is imported here, so that `wexport --help` is quick.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

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
from wexport.errors import PluginError, UsageError, WexportError
from wexport.version import __version__

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

COMMANDS_GROUP = "wexport.commands"
"""Entry points of this group are commands: name = "package.module:a_click_command"."""


class _Foreign(click.Command):
    """A command of an installed plugin, as it stands in the list: by its name alone, nothing imported."""

    def __init__(self, entry: EntryPoint) -> None:
        self._entry = entry
        self._whose = entry.dist.name if entry.dist else entry.value
        super().__init__(entry.name, help=f"From {self._whose}.")

    def load(self) -> click.Command:
        """The command itself. Raises PluginError if it cannot be imported."""
        try:
            command = self._entry.load()
        except Exception as error:  # whatever a plugin raises at import is its own
            raise PluginError(
                f"the command {self.name} of {self._whose} cannot be loaded: {type(error).__name__}: {error}",
                hint=f"pip install --upgrade {self._whose}",
            ) from None
        if not isinstance(command, click.Command):
            raise PluginError(f"the command {self.name} of {self._whose} is no click.Command")
        return command


class _Commands(click.Group):
    """Our commands, and those of installed plugins."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *sorted(set(_of_plugins()) - set(self.commands))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = super().get_command(ctx, cmd_name)
        entry = None if found is not None else _of_plugins().get(cmd_name)
        return found if entry is None else _Foreign(entry)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.load() if isinstance(command, _Foreign) else command, rest


def _of_plugins() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in entry_points(group=COMMANDS_GROUP)}


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
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
