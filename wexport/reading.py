"""What the author of a reader builds on, besides the nouns at the top of `wexport`.

    from wexport.reading import chunks, roles

chunks: ways to make `Tensor.chunks`: from bytes in a file (`of_bytes`), of parts, joins and sums of other tensors.
roles: the words that all frameworks share (`ROLES`), layouts by class and role (`layout`), roles by name (`by_name`).
archives: the members of a zip, safely: `open_archive`, `member_names`, `SIGNATURES`; `Archive` is what they give.
shards: models spread over several files: `read_index`, `begins_as_index`, `checkpoint_part`.
state_dict: what the names and shapes of a torch state dict tell: `looks_like_torch`, `describe`.
slot_names: the slot of each tensor of a model, as the table will have it.
ExternalFiles: files that a model names, opened inside its own folder and nowhere else.
FileSlice: a stretch of a file as a file of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wexport.files import archives, shards
from wexport.files.archives import Archive
from wexport.files.external import ExternalFiles
from wexport.files.slices import FileSlice
from wexport.model import chunks, roles
from wexport.model.chunks import ReadAt
from wexport.model.slots import slot_names
from wexport.model.tensors import Chunks

if TYPE_CHECKING:
    from wexport import state_dict

__all__ = [
    "Archive",
    "Chunks",
    "ExternalFiles",
    "FileSlice",
    "ReadAt",
    "archives",
    "chunks",
    "roles",
    "shards",
    "slot_names",
    "state_dict",
]


def __getattr__(name: str) -> Any:
    """`state_dict` costs as much to import as all else here, and most formats have no use for it."""
    if name == "state_dict":
        import wexport.state_dict

        return wexport.state_dict
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
