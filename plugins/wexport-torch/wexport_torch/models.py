"""A model of torch in one file or several: its tensors as values, each with what its name and module tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from wexport import Model, Skipped, Source, Tensor
from wexport.reading import ExternalFiles, shards, state_dict
from wexport_torch import classes, distributed, exported, reading
from wexport_torch.reading import Contents, Weight


def open_(source: Source) -> Model:
    """The model in a file or folder, whatever the layout.

    Raises ReadError for what cannot be read, HostileFileError and BudgetError for what is past the bounds.
    """
    if is_index(source):
        held = _sharded(source)
    elif distributed.is_metadata(source):
        held = distributed.contents(source)
    elif exported.is_exported(source):
        held = exported.contents(source)
    else:
        held = reading.contents(source)
    values = state_dict.decoded([weight.tensor for weight in held.weights])
    by_name = {weight.tensor.name: weight for weight in held.weights}
    by_name |= {name: by_name[codes] for name, codes in values.made_of.items()}
    tensors = [*_described(values.tensors, by_name, values.made_of), *held.others]
    skipped = [*held.skipped, *values.skipped]
    return Model(
        tensors=tensors, format=held.format, framework="torch", skipped=skipped, aliases=held.aliases, part=held.part
    )


def _described(tensors: list[Tensor], by_name: Mapping[str, Weight], made_of: Mapping[str, str]) -> Iterator[Tensor]:
    """The model's tensors with what their names and shapes tell, and their modules' classes where there are any."""
    for tensor in state_dict.describe(tensors, ordered=True):
        # The biases of a recurrent layer are one tensor now, under both names.
        first = tensor.name if tensor.name in by_name else tensor.name.split(" + ")[0].split(", ")[0]
        weight = by_name.get(first)
        item = weight.found if weight is not None else None
        if item is None or item.module is None:
            yield tensor
        else:
            decoded_as = tensor.name.rpartition(".")[2] if tensor.name in made_of else item.path[-1]
            yield classes.described(tensor, item.module, decoded_as)


# -- an index of several files -----------------------------------------------------------------------------------------


def is_index(source: Source) -> bool:
    """Whether it names the file of each tensor, as in `pytorch_model.bin.index.json`."""
    return any(shards.begins_as_index(source.head, suffix) for suffix in (".bin", ".pt", ".pth"))


def _sharded(source: Source) -> Contents:
    """What the files hold that an index names, which lie in its own folder."""
    index = shards.read_index(source.path)
    external = ExternalFiles(source)
    held = Contents("torch-sharded")
    named: dict[str, list[str]] = {}
    for name, file in index.items():
        named.setdefault(file, []).append(name)
    for file in sorted(named):
        found = reading.contents(external.opened(file))
        there = {weight.tensor.name for weight in found.weights} | {each.name for each in found.skipped}
        held.add(found)
        held.skipped += [
            Skipped("missing tensor", name, True, f"{file} does not hold it")
            for name in named[file]
            if name not in there
        ]
    return held
