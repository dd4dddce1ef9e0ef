"""What a package with commands or callbacks of its own shares with wexport's.

expand(paths): the files that paths, folders and patterns mean. model_names(files, template): what each is called.
say(text): a line on standard error, safe for a terminal. progress(what): a bar there, where it is a terminal.
atomic_write(path): a file that is in its place once it is whole. Lock(path): held by the one process that writes there.
outputs: what may be written over; overwrite_option: the option for it; claim_table(out, models, read): the same for a
table, which may be a folder (is_folder).
EXIT_SOME_FAILED, EXIT_USAGE, EXIT_NOTHING_DONE: what a command ends with.
"""

from wexport.commands.common import EXIT_NOTHING_DONE, EXIT_SOME_FAILED, EXIT_USAGE, overwrite_option, say
from wexport.commands.progress import progress
from wexport.files import outputs
from wexport.files.atomic import atomic_write
from wexport.files.locks import Lock
from wexport.ingestion.inputs import expand, model_names
from wexport.ingestion.places import claim as claim_table
from wexport.ingestion.places import is_folder

__all__ = [
    "EXIT_NOTHING_DONE",
    "EXIT_SOME_FAILED",
    "EXIT_USAGE",
    "Lock",
    "atomic_write",
    "claim_table",
    "expand",
    "is_folder",
    "model_names",
    "outputs",
    "overwrite_option",
    "progress",
    "say",
]
