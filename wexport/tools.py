"""What a package with commands or callbacks of its own shares with wexport's.

expand(paths): the files that paths, folders and patterns mean. model_names(files, template): what each is called.
say(text): a line on standard error, safe for a terminal. progress(what): a bar there, where it is a terminal.
atomic_write(path): a file that is in its place once it is whole.
EXIT_SOME_FAILED, EXIT_USAGE, EXIT_NOTHING_DONE: what a command ends with.
"""

from wexport.commands.common import EXIT_NOTHING_DONE, EXIT_SOME_FAILED, EXIT_USAGE, say
from wexport.commands.progress import progress
from wexport.files.atomic import atomic_write
from wexport.ingestion.inputs import expand, model_names

__all__ = [
    "EXIT_NOTHING_DONE",
    "EXIT_SOME_FAILED",
    "EXIT_USAGE",
    "atomic_write",
    "expand",
    "model_names",
    "progress",
    "say",
]
