"""Small files written by torch itself, with JSON of what torch says of every tensor in them.

Run in a virtual environment of its own: pip install torch==2.13.0 numpy

    python plugins/wexport-torch/tests/make/make_torch.py

Writes plugins/wexport-torch/tests/models.zip: the files, and models.json, which holds for each file

    order      what the state dict lists, by name; and what else should be given, such as optimizer state
    tensors    for each of these: shape, dtype, stride, kind, trainable where the file tells, figures in float64 and the
               hash of its values as little-endian bytes in C order
    left_out   what should be named and left out

Values come from fixed seeds, and no two tensors of a model are alike. Names of files that end in `.legacy.pt` are
written in the layout of torch before 1.6, the others as zips.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

OUT = Path(__file__).resolve().parents[1] / "models.zip"
FILES: dict[str, bytes] = {}
SAID: dict[str, Any] = {}


def main() -> None:
    torch.manual_seed(1)
    state_dicts()
    dtypes()
    strides()
    checkpoints()
    modules()
    odd()
    FILES["models.json"] = text_of(SAID)
    with zipfile.ZipFile(OUT, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in FILES.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED, 9)
    print(f"{len(FILES)} files, {OUT.stat().st_size:,} bytes")


def save(name: str, saved: Any, said: dict[str, Any], left_out: tuple[str, ...] = (), **options: Any) -> None:
    """Saves in one layout, and has torch load what it saved before what it says is believed."""
    options.setdefault("_use_new_zipfile_serialization", not name.endswith(".legacy.pt"))
    file = io.BytesIO()
    torch.save(saved, file, **options)
    file.seek(0)
    torch.load(file, weights_only=False)
    keep(name, file.getvalue(), said, left_out)


def both(name: str, saved: Any, said: dict[str, Any], left_out: tuple[str, ...] = ()) -> None:
    save(f"{name}.pt", saved, said, left_out)
    save(f"{name}.legacy.pt", saved, said, left_out)


def keep(name: str, content: bytes, said: dict[str, Any], left_out: tuple[str, ...] = ()) -> None:
    FILES[name] = content
    SAID[name] = {"order": list(said), "tensors": said, "left_out": list(left_out)}


def weights(tensors: Any, **more: Any) -> dict[str, Any]:
    """What torch says of the tensors of a state dict."""
    return {name: about(tensor, **more) for name, tensor in tensors.items()}


def about(tensor: torch.Tensor, **more: Any) -> dict[str, Any]:
    """What torch says of a tensor; of a quantised one, of its values, and of its integers' type."""
    values = tensor.detach()
    stored = values.int_repr() if values.is_quantized else values
    values = values.dequantize() if values.is_quantized else values
    values = values.contiguous()
    raw = values.reshape(-1).view(torch.uint8).numpy().tobytes() if values.numel() else b""
    flat = values.to(torch.float64).reshape(-1)
    figures = (
        {} if not flat.numel() else {"mean": flat.mean(), "l2_norm": flat.norm(), "min": flat.min(), "max": flat.max()}
    )
    return {
        "shape": list(tensor.shape),
        "dtype": str(stored.dtype).removeprefix("torch."),
        "stride": list(tensor.stride()),
        "kind": "weight",
        **{name: figure.item() for name, figure in figures.items()},
        "sha256": hashlib.sha256(raw).hexdigest(),
        **more,
    }


def text_of(said: dict[str, Any]) -> bytes:
    """JSON with a line a tensor."""
    files = []
    for name, entry in said.items():
        rows = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in entry["tensors"].items())
        head = f'"order": {json.dumps(entry["order"])}, "left_out": {json.dumps(entry["left_out"])}'
        files.append(f'{json.dumps(name)}: {{{head}, "tensors": {{\n{rows}\n}}}}')
    return ("{\n" + ",\n".join(files) + "\n}\n").encode()


# -- state dicts -------------------------------------------------------------------------------------------------------


class Cnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3)
        self.bn1 = nn.BatchNorm2d(4)
        self.depthwise = nn.Conv2d(4, 8, 3, groups=4, bias=False)
        self.up = nn.ConvTranspose2d(8, 2, 2)
        self.fc = nn.Linear(2, 5)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 3)
        self.lstm = nn.LSTM(3, 2, num_layers=2, bidirectional=True)
        self.gru = nn.GRU(4, 3)
        self.fc = nn.Linear(3, 2)


def randomise(module: nn.Module) -> None:
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.randn(tensor.shape).abs() + 0.1)


def state_dicts() -> None:
    cnn = Cnn()
    randomise(cnn)
    both("cnn", cnn.state_dict(), weights(cnn.state_dict()))
    save("cnn_protocol4.pt", cnn.state_dict(), weights(cnn.state_dict()), pickle_protocol=4)
    save("cnn_protocol5.legacy.pt", cnn.state_dict(), weights(cnn.state_dict()), pickle_protocol=5)
    save("data_parallel.pt", nn.DataParallel(cnn).state_dict(), weights(nn.DataParallel(cnn).state_dict()))
    recurrent = Recurrent()
    both("recurrent", recurrent.state_dict(), weights(recurrent.state_dict()))
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 6, batch_first=True), 2)
    save("transformer.pt", encoder.state_dict(), weights(encoder.state_dict()))
    tied = nn.ModuleDict({"embedding": nn.Embedding(5, 3), "head": nn.Linear(3, 5, bias=False)})
    tied["head"].weight = tied["embedding"].weight
    both("tied", tied.state_dict(), weights(tied.state_dict()))
    parameters = {"a.weight": nn.Parameter(torch.randn(2, 3)), "b.weight": nn.Parameter(torch.randn(3), False)}
    parameters["c.weight"] = nn.Parameter(torch.randn(4))
    parameters["c.weight"].note = "with an attribute"
    said = {name: about(tensor, trainable=tensor.requires_grad) for name, tensor in parameters.items()}
    tagged = torch.randn(2)
    tagged.note = "with an attribute"
    save("parameters.pt", {**parameters, "d.weight": tagged}, {**said, "d.weight": about(tagged)})
    save("one.pt", torch.arange(6.0).reshape(2, 3), {"tensor": about(torch.arange(6.0).reshape(2, 3))})


def dtypes() -> None:
    floats = ["float64", "float32", "float16", "bfloat16"]
    floats += ["float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"]
    integers = ["int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool"]
    held = {f"{name}.weight": torch.randn(3, 4).to(getattr(torch, name)) for name in floats}
    held |= {f"{name}.weight": torch.randint(0, 2, (5,)).to(getattr(torch, name)) for name in integers}
    save("dtypes.pt", held, weights(held))
    # torch writes newer types into the older layout, but does not load them from there.
    newer = ("float8", "uint64", "uint32", "uint16")
    older = {name: tensor for name, tensor in held.items() if not name.startswith(newer)}
    save("dtypes.legacy.pt", older, weights(older))


def strides() -> None:
    whole = torch.arange(60, dtype=torch.float32).reshape(3, 4, 5)
    half = torch.randn(4, 6).to(torch.bfloat16)
    held = {
        "whole.w": whole,
        "transposed.w": whole[0].t(),
        "permuted.w": whole.permute(2, 0, 1),
        "rows.w": whole[1:, 1:3],
        "columns.w": whole[:, :, 2],
        "stepped.w": whole[::2, ::3, ::2],
        "expanded.w": whole[0, 0].expand(6, 5),
        "expanded_scalar.w": torch.tensor(3.5).expand(2, 2, 2),
        "overlapping.w": whole.as_strided((4, 6), (2, 1), 7),
        "channels_last.w": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
        "half_transposed.w": half.t(),
        "half_stepped.w": half[:, ::2],
        "scalar.w": torch.tensor(2.5),
        "scalar_inside.w": whole[1, 2, 3],
        "empty.w": torch.empty(0, 3),
        "empty_inside.w": whole[1:1],
        "single.w": whole[2:, 3:, 4:],
    }
    both("strides", held, weights(held))


# -- checkpoints -------------------------------------------------------------------------------------------------------


def trained(model: nn.Module) -> torch.optim.Optimizer:
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    return optimizer


def optimizer_said(path: str, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    found = {}
    for number, state in optimizer.state_dict()["state"].items():
        for name, tensor in state.items():
            found[f"{path}.state.{number}.{name}"] = about(tensor, kind="optimizer")
    return found


def checkpoints() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    optimizer = trained(model)
    saved = {
        "epoch": 7,
        "best": np.float64(0.75),
        "loss": torch.tensor(0.25),
        "arch": "mlp",
        "args": argparse.Namespace(lr=0.1, sizes=[3, 4]),
        "model_state_dict": model.state_dict(),
        "optimizer_state_dict": optimizer.state_dict(),
        "rng": torch.get_rng_state()[:64],
        "history": [0.5, 0.25],
        "mean": torch.tensor([0.5, 0.25]),
    }
    said = weights(model.state_dict()) | {"mean": about(saved["mean"], kind="array")}
    said |= optimizer_said("optimizer_state_dict", optimizer)
    both("checkpoint", saved, said, ("args", "loss", "rng"))
    lightning = {
        "epoch": 1,
        "global_step": 10,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": OrderedDict((f"net.{name}", tensor) for name, tensor in model.state_dict().items()),
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 1}}}},
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.5), "best_k_models": {}}},
        "optimizer_states": [optimizer.state_dict()],
        "lr_schedulers": [{"last_epoch": 1, "base_lrs": [0.1]}],
        "hparams_name": "kwargs",
        "hyper_parameters": {"lr": 0.1, "class_weights": torch.tensor([1.0, 2.0]), "act": nn.functional.relu},
    }
    said = weights(lightning["state_dict"])
    said["hyper_parameters.class_weights"] = about(torch.tensor([1.0, 2.0]), kind="array")
    said |= optimizer_said("optimizer_states.0", optimizer)
    save("lightning.ckpt", lightning, said, ("callbacks.ModelCheckpoint.best_model_score",))
    generator, discriminator = nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 1))
    gan = {"generator": generator.state_dict(), "discriminator": discriminator.state_dict(), "step": 3}
    said = {
        f"{part}.{name}": entry for part in ("generator", "discriminator") for name, entry in weights(gan[part]).items()
    }
    save("gan.pt", gan, said)
    deep = {"run": {"epoch": 3, "model": {"state_dict": model.state_dict(), "config": {"width": 4}}}}
    save("deep.pt", deep, weights(model.state_dict()))
    save("two_in_a_list.pt", [generator.state_dict(), 3], weights(generator.state_dict()))
    save(
        "plain.pt",
        (torch.ones(2), {"x": 3, "y": torch.zeros(3), "z": 1}),
        {"0": about(torch.ones(2)), "1.y": about(torch.zeros(3))},
    )


# -- whole modules -----------------------------------------------------------------------------------------------------


class Whole(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(3))
        self.register_buffer("mask", torch.randn(2, 2))
        self.register_buffer("passing", torch.randn(2), persistent=False)
        self.features = nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=2, bias=False),
            nn.BatchNorm2d(4),
            nn.Conv2d(4, 8, 3, groups=4),
            nn.ConvTranspose2d(8, 4, 2),
            nn.ConvTranspose2d(4, 6, 2, groups=2),
            nn.Conv1d(6, 6, 1, groups=2),
        )
        self.words = nn.Embedding(5, 4)
        self.mixer = nn.Linear(4, 5, bias=False)
        self.norm = nn.LayerNorm(4)
        self.act = nn.PReLU()
        self.lstm = nn.LSTM(4, 2)
        self.mixer.weight.requires_grad = False
        self.loose = torch.ones(3)
        self.again = self.norm

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mixer(self.norm(x)) * self.scale.sum() + self.mask.sum() + self.passing.sum()


def module_said(module: nn.Module) -> dict[str, Any]:
    trains = {name: parameter.requires_grad for name, parameter in module.named_parameters(remove_duplicate=False)}
    return {name: about(tensor, trainable=trains.get(name, False)) for name, tensor in module.state_dict().items()}


def modules() -> None:
    whole = Whole()
    randomise(whole)
    # The older layout keeps the source of every class, and where it stood on the machine that saved it.
    torch.serialization.get_source_lines_and_file = lambda _: (["raise SystemExit('run')\n"], 1, "models.py")
    both("module", whole, module_said(whole), ("passing", "loose"))
    save("module_in_checkpoint.pt", {"epoch": 1, "model": whole, "ema": None}, module_said(whole), ("passing", "loose"))
    scripted = torch.jit.script(Whole())
    randomise(scripted)
    file = io.BytesIO()
    torch.jit.save(scripted, file)
    said = module_said(scripted)
    # TorchScript keeps every buffer and every tensor, as attributes alike, and a module that is shared once.
    said |= {name: about(getattr(scripted, name), trainable=False) for name in ("passing", "loose")}
    keep("script.pt", without_sources(file.getvalue()), said)


def without_sources(content: bytes) -> bytes:
    """A TorchScript archive without the members that tell where its code stood on the machine that saved it."""
    slim = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(slim, "w") as kept:
        for info in archive.infolist():
            if not info.filename.endswith(".debug_pkl"):
                kept.writestr(info, archive.read(info))
    slim.seek(0)
    torch.jit.load(slim)
    return slim.getvalue()


# -- what is left out --------------------------------------------------------------------------------------------------


class Custom:
    def __init__(self, tensor: torch.Tensor | None = None) -> None:
        self.tensor = tensor


def odd() -> None:
    channels = torch.quantize_per_channel(
        torch.randn(3, 4), torch.tensor([0.1, 0.2, 0.4]), torch.tensor([0, 1, 2]), 0, torch.qint8
    )
    last = torch.quantize_per_channel(
        torch.randn(2, 3), torch.tensor([0.1, 0.2, 0.4]), torch.tensor([5, 6, 7]), 1, torch.quint8
    )
    held = {
        "w.weight": torch.randn(2, 2),
        "q.weight": torch.quantize_per_tensor(torch.randn(3, 4), 0.05, 3, torch.qint8),
        "qu.weight": torch.quantize_per_tensor(torch.randn(3, 4), 0.05, 128, torch.quint8).t(),
        "q32.weight": torch.quantize_per_tensor(torch.randn(3), 0.001, 0, torch.qint32),
        "qc.weight": channels,
        "ql.weight": last,
    }
    kept = weights(held)
    left_out = {
        "sparse": torch.eye(3).to_sparse(),
        "csr": torch.eye(3).to_sparse_csr(),
        "complex": torch.randn(2, dtype=torch.complex64),
        "conjugated": torch.randn(2, dtype=torch.complex64).conj(),
        "negated": torch.randn(2, dtype=torch.complex64).conj().imag,
        "meta": torch.empty(2, device="meta"),
        "array": np.arange(3.0),
        "custom": Custom(),
        "storage": torch.FloatStorage(3),
    }
    save("odd.pt", held | left_out, kept, tuple(left_out))
    save("custom.pt", {"model": Custom(torch.ones(2)), "w": torch.ones(3)}, {"w": about(torch.ones(3))}, ("model",))
    save("only_custom.pt", Custom(torch.ones(2)), {})


if __name__ == "__main__":
    main()
