"""wexport activations: run models on given inputs, and write what their layers do into the table.

Nothing heavy is imported until the command runs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wexport.tools import is_folder, overwrite_option

if TYPE_CHECKING:
    from wexport import IngestResult


@click.command()
@click.argument("models", nargs=-1, required=True)
@click.option(
    "--inputs", "-i", multiple=True, required=True, metavar="FILE", help="x.npy, one for each input, or a .npz by name."
)
@click.option("--targets", "-t", multiple=True, metavar="FILE", help="y.npy, likewise: gradients of the loss too.")
@click.option("--loss", metavar="NAME", help="One of Keras' losses; by default what the model was compiled with.")
@click.option("--layers", "-l", multiple=True, metavar="PATTERN", help="Only these layers; * and ? match anything.")
@click.option("--output-gradients", is_flag=True, help="Gradients by the layers' outputs too.")
@click.option("--training", is_flag=True, help="Layers behave as in training: dropout, statistics of the batch.")
@click.option("--batch-size", type=click.IntRange(min=1), metavar="N", help="As many inputs as fit 64 MiB by default.")
@click.option("--out", "-o", required=True, metavar="TABLE", help="The table, or a folder/ for a part for each model.")
@overwrite_option
@click.option("--append", is_flag=True, help="Add to the table, in place of these models' rows.")
@click.option("--name", metavar="PATTERN", help="Names models; may use {stem} {name} {parent} {path}.")
@click.option("--detail", type=click.Choice(["full", "summary"]), default="full", show_default=True)
@click.option("--backend", metavar="NAME", help="jax, torch, tensorflow or numpy; the first that is there by default.")
@click.option("--trust", is_flag=True, help="Run models that bring or need code of their own.")
@click.option("--code", multiple=True, metavar="FILE.py", help="Defines the model's custom layers; needs --trust.")
def activations(
    models: tuple[str, ...],
    inputs: tuple[str, ...],
    targets: tuple[str, ...],
    loss: str | None,
    layers: tuple[str, ...],
    out: str,
    append: bool,
    name: str | None,
    detail: str,
    backend: str | None,
    trust: bool,
    code: tuple[str, ...],
    overwrite: bool,
    **options: Any,
) -> None:
    """Run Keras models on inputs of yours: figures of every layer's output, and of gradients.

    The table holds the models' weights as well, so that `wexport query health` tells which units are dead indeed.
    """
    from wexport import ReadError, UsageError
    from wexport.tools import EXIT_NOTHING_DONE, EXIT_SOME_FAILED, claim_table, expand, model_names, progress, say
    from wexport_keras.starting import start

    if loss is not None and not targets:
        raise UsageError("a loss is named, and there are no targets", hint="--targets y.npy")
    found = [item.path for item in expand(models)]
    names = model_names(found, name)
    claim_table(out, names, [*found, *inputs, *targets, *code], overwrite=overwrite)  # before a backend is started
    running = start(backend)
    from wexport_keras.inputs import read

    x, y = read(inputs), read(targets) if targets else None
    failed, written = 0, None
    with progress("running") as shown:
        for number, (path, called) in enumerate(zip(found, names, strict=True)):
            shown(number, len(found), called)
            try:
                written = _run_one(
                    path, called, x, y, out, append or number > failed, detail, trust, code,
                    overwrite=overwrite, loss=loss, layers=layers or ("*",), **options,
                )  # fmt: skip
            except (ReadError, UsageError) as error:
                if len(found) == 1:
                    raise
                failed += 1
                say(f"failed: {error if str(path) in str(error) else f'{path}: {error}'}")
                if error.hint:
                    say(f"  {error.hint}")
    if written is not None:
        what = "outputs and gradients" if targets else "outputs"
        done = len(found) - failed
        count = len(next(iter(x.values())) if isinstance(x, dict) else x[0])
        print(f"{done:,} model{'s' * (done > 1)} run on {count:,} input{'s' * (count > 1)}: {what}, on {running}")
        print(f"{written.rows:,} rows in {out}")
        ask = "outputs", *(["gradients"] if targets else []), "health"
        print(f"what they tell: {', '.join(f'wexport query {query} {out}' for query in ask)}")
    if failed:
        sys.exit(EXIT_SOME_FAILED if written else EXIT_NOTHING_DONE)


def _run_one(
    path: Path, name: str, x: Any, y: Any, out: str, append: bool, detail: str, trust: bool, code: tuple[str, ...],
    *, overwrite: bool, **options: Any,
) -> IngestResult:  # fmt: skip
    from dataclasses import replace

    import wexport
    from wexport_keras.describing import describe
    from wexport_keras.loading import load
    from wexport_keras.observing import observe

    model = load(path, trust=trust, code=code)
    try:
        seen = observe(model, x, y, detail=detail == "full", **options)
    except wexport.WexportError:
        raise
    except Exception as error:  # a layer may raise anything when it runs
        reason = " ".join(str(error).split())[:300]
        raise wexport.ReadError(f"{path}: running it failed: {type(error).__name__}: {reason}") from None
    weights = describe(model)
    whole = replace(weights, tensors=[*weights.tensors, *seen])
    # Into a folder each model goes as a part of its own, which is replaced anyway.
    append = append and not is_folder(out)
    return wexport.ingest_model(whole, out, name=name, source=path, detail=detail, append=append, overwrite=overwrite)
