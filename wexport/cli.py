"""The command line: parse, call, print. Each command is one call of the Python interface.

Only what every command needs is imported here, so that `wexport --help` is quick.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import warnings
from collections.abc import Sequence
from functools import cache
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import click

from wexport.commands.browse import browse
from wexport.commands.check import check
from wexport.commands.common import EXIT_INTERRUPTED, EXIT_NOTHING_DONE, EXIT_USAGE, say
from wexport.commands.compact import compact
from wexport.commands.compare import compare
from wexport.commands.demo import demo
from wexport.commands.diff import diff
from wexport.commands.ingest import ingest
from wexport.commands.inspect import inspect
from wexport.commands.new_plugin import new_plugin
from wexport.commands.notebook import notebook
from wexport.commands.plot import plot
from wexport.commands.plugins import plugins
from wexport.commands.prove import prove
from wexport.commands.query import query
from wexport.commands.relate import relate
from wexport.commands.report import report
from wexport.commands.schema import schema
from wexport.compatibility import with_new_options
from wexport.errors import PluginError, UsageError, WexportError
from wexport.version import __version__

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What the system says where standard output is a file on a disk that is full, or fails."""
COMMANDS_GROUP = "wexport.commands"
"""Entry points of this group are commands: name = "package.module:a_click_command"."""
_KNOWN = {"activations": "wexport-keras"}
"""Commands of packages that may not be installed."""


class _Foreign(click.Command):
    """A command of an installed plugin, as it stands in the list: by its name alone, nothing imported."""

    def __init__(self, name: str, entries: Sequence[EntryPoint]) -> None:
        """entries: of that name; where there are several, none is run."""
        self._entries = entries
        self._owners = [entry.dist.name if entry.dist else entry.value for entry in entries]
        super().__init__(name, help=f"From {' and '.join(self._owners)}.")

    def load(self) -> click.Command:
        """The command itself. Raises PluginError if it cannot be imported, or two plugins have one of its name."""
        owner = self._owners[0]
        if len(self._entries) > 1:
            raise PluginError(
                f"{' and '.join(self._owners)} both have a command {self.name}",
                hint=f"pip uninstall {owner}, or another",
            )
        from wexport.plugins.guard import ForeignError, foreign_code
        from wexport.processes import forkserver

        forkserver.share_imports(False)  # the program is not ours alone
        try:
            with foreign_code(passing=()):
                command = self._entries[0].load()
        except ForeignError as error:
            raise PluginError(
                f"the command {self.name} of {owner} cannot be loaded: {error}",
                hint=f"pip install --upgrade {owner}",
            ) from None
        if not isinstance(command, click.Command):
            raise PluginError(f"the command {self.name} of {owner} is a {type(command).__name__}, and no click.Command")
        return command

    def failed(self, error: Exception) -> PluginError:
        """What is told when the command raises what it should not."""
        owner = self._owners[0]
        return PluginError(
            f"the command {self.name} of {owner} failed: {type(error).__name__}: {error}",
            hint=f"this is a fault of {owner}",
        )


class _Commands(click.Group):
    """Our commands, and those of installed plugins, which cannot take the name of one of ours."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *sorted(set(_of_plugins()) - set(self.commands))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, cmd_name) or self._foreign(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] in _KNOWN and self.get_command(ctx, args[0]) is None:
            raise UsageError(f"{args[0]} is a command of {_KNOWN[args[0]]}", hint=f"pip install {_KNOWN[args[0]]}")
        name, command, rest = super().resolve_command(ctx, args)
        if isinstance(command, _Foreign):
            return name, command.load(), rest
        return name, command, with_new_options(rest, lambda message: say(f"note: {message}"))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, WexportError, BrokenPipeError):
            raise
        except Exception as error:
            foreign = self._foreign(ctx.invoked_subcommand or "")
            if foreign is None:
                raise
            raise foreign.failed(error) from error

    def _foreign(self, name: str) -> _Foreign | None:
        entries = [] if name in self.commands else _of_plugins().get(name, [])
        return _Foreign(name, entries) if entries else None


@cache
def _of_plugins() -> dict[str, list[EntryPoint]]:
    """The installed commands by name. Reads what pip wrote, and imports none of them."""
    from importlib.metadata import entry_points

    found: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=COMMANDS_GROUP):
        found.setdefault(entry.name, []).append(entry)
    return found


def _tell_version(context: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked and not context.resilient_parsing:
        from wexport.stats.form import FORM

        click.echo(f"wexport, version {__version__}\nstatistics: {FORM}")
        context.exit()


_VERSION_HELP = "Show the version, and in which form statistics run, and exit."


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_tell_version, help=_VERSION_HELP)
def cli() -> None:
    """Turn saved models into one table of figures, and compare them.

    Start with: wexport ingest *.h5 --out weights.parquet
    """


for _command in (
    *(ingest, compare, query, check, diff, plot, relate, prove, report, notebook, browse),
    *(inspect, compact, schema, plugins, new_plugin, demo),
):
    cli.add_command(_command)


def main(*, stoppable: bool = False) -> NoReturn:
    """Entry point: no traceback reaches the user, and Ctrl-C leaves nothing behind.

    stoppable: Ctrl-C ended the process so far, and is to end the command from now on.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    warnings.filterwarnings("ignore", "Glyph .* missing")  # of matplotlib's font, for a name in a picture
    if not sys.warnoptions:
        warnings.filterwarnings("ignore", category=RuntimeWarning)  # of NumPy's, where values are near 1e308
    _open_what_is_closed()
    try:
        try:
            if stoppable:
                sys.unraisablehook = _interrupt_again
                signal.signal(signal.SIGINT, signal.default_int_handler)
            cli.main(standalone_mode=False)
        finally:
            sys.stdout.flush()  # what it cannot write is told here, and not when Python exits
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
        _drop_output()  # its reader is gone (`| head`)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        _drop_output()
        say(f"error: the output cannot be written: {error.strerror}")
        sys.exit(EXIT_NOTHING_DONE)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is ending; a second one would only interrupt that
        say("stopped before the end")
        sys.exit(EXIT_INTERRUPTED)
    sys.exit(0)


def _open_what_is_closed() -> None:
    """Give a process that was started without standard streams (`>&-`) some that lead nowhere.

    Otherwise the first files that it opens would take their places, and be written into.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def _drop_output() -> None:
    """Keep Python from complaining when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _interrupt_again(lost: sys.UnraisableHookArgs) -> None:
    """What is raised where Python can raise nothing, as in the middle of an import: Ctrl-C there comes once more."""
    if not issubclass(lost.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(lost)
        return
    again = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
    again.daemon = True
    again.start()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
