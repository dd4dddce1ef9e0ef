"""ONNX models exported by torch, by both of its exporters, and what torch says of their weights.

    pip install torch==2.13.0 onnx onnxscript onnxruntime
    python make_torch.py FOLDER

`*_script` is written by the older exporter (TorchScript), `*_dynamo` by the newer one.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import told
import torch
from torch import nn

warnings.simplefilter("ignore")
WRITTEN_BY = f"torch {torch.__version__}"


class Images(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3)
        self.bn1 = nn.BatchNorm2d(4)
        self.block = nn.Sequential(nn.Conv2d(4, 8, (3, 2), groups=4), nn.PReLU(8), nn.Conv2d(8, 6, 1, groups=2))
        self.up = nn.ConvTranspose2d(6, 5, 2, stride=2)
        self.fc1 = nn.Linear(5, 7)
        self.fc2 = nn.Linear(7, 3, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.up(self.block(torch.relu(self.bn1(self.conv1(x)))))
        return self.fc2(torch.relu(self.fc1(x.mean((2, 3)))))


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 4)
        self.lstm = nn.LSTM(4, 3, num_layers=2, bidirectional=True, batch_first=True)
        self.gru = nn.GRU(6, 5, batch_first=True)
        self.norm = nn.LayerNorm(5)
        self.out = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x, _ = self.lstm(self.embedding(x))
        x, _ = self.gru(x)
        return self.out(self.norm(x))


class Signals(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv1d(2, 4, 3), nn.Conv1d(4, 4, 2, groups=4)])
        self.rnn = nn.RNN(4, 5, batch_first=True)
        self.wide = nn.Conv3d(1, 2, 2)
        self.scale = nn.Parameter(torch.randn(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = torch.relu(layer(x))
        x, _ = self.rnn(x.transpose(1, 2))
        return self.wide((x * self.scale).reshape(1, 1, 2, -1, 5))


def conv(weight: Any) -> Any:
    """(out, in, *window) as Keras has it: (*window, in, out)."""
    return np.moveaxis(weight, (0, 1), (-1, -2))


def depthwise(weight: Any, channels: int) -> Any:
    return np.moveaxis(weight.reshape(channels, -1, *weight.shape[2:]), (0, 1), (-2, -1))


def gates(weight: Any, order: list[int]) -> Any:
    """Blocks of rows in another order, then as columns."""
    blocks = np.split(weight, len(order))
    return np.concatenate([blocks[place] for place in order]).T


LSTM, GRU = [0, 1, 2, 3], [1, 0, 2]  # torch has i f g o, which Keras calls i f c o, and r z n, which it calls z r h


def recurrent(state: dict[str, Any], name: str, suffix: str, class_name: str, direction: str | None = None) -> Any:
    order = {"LSTM": LSTM, "GRU": GRU}.get(class_name, [0])
    biases = [gates(state[f"{name}.bias_{which}_{suffix}"], order) for which in ("ih", "hh")]
    bias = np.stack(biases) if class_name == "GRU" else biases[0] + biases[1]
    yield told.weight(name, class_name, "kernel", gates(state[f"{name}.weight_ih_{suffix}"], order), direction)
    yield told.weight(
        name, class_name, "recurrent_kernel", gates(state[f"{name}.weight_hh_{suffix}"], order), direction
    )
    yield told.weight(name, class_name, "bias", bias, direction)


def images(s: dict[str, Any], folded: bool) -> Any:
    """folded: the newer exporter folds the normalisation into the convolution before it, so that both are new."""
    if not folded:
        yield told.weight("conv1", "Conv2D", "kernel", conv(s["conv1.weight"]))
        yield told.weight("conv1", "Conv2D", "bias", s["conv1.bias"])
        for role, name in zip(
            ("gamma", "beta", "moving_mean", "moving_variance"),
            ("weight", "bias", "running_mean", "running_var"),
            strict=True,
        ):
            yield told.weight("bn1", "BatchNormalization", role, s[f"bn1.{name}"])
    yield told.weight("block/0", "DepthwiseConv2D", "kernel", depthwise(s["block.0.weight"], 4))
    yield told.weight("block/0", "DepthwiseConv2D", "bias", s["block.0.bias"])
    yield told.weight("block/1", "PReLU", "alpha", s["block.1.weight"].reshape(1, 1, 8))
    yield told.weight("block/2", "Conv2D", "kernel", conv(s["block.2.weight"]))
    yield told.weight("block/2", "Conv2D", "bias", s["block.2.bias"])
    yield told.weight("up", "Conv2DTranspose", "kernel", np.transpose(s["up.weight"], (2, 3, 1, 0)))
    yield told.weight("up", "Conv2DTranspose", "bias", s["up.bias"])
    yield told.weight("fc1", "Dense", "kernel", s["fc1.weight"].T)
    yield told.weight("fc1", "Dense", "bias", s["fc1.bias"])
    yield told.weight("fc2", "Dense", "kernel", s["fc2.weight"].T)


def words(s: dict[str, Any], _: bool) -> Any:
    yield told.weight("embedding", "Embedding", "embeddings", s["embedding.weight"])
    for number in (0, 1):
        yield from recurrent(s, "lstm", f"l{number}", "LSTM", "forward")
        yield from recurrent(s, "lstm", f"l{number}_reverse", "LSTM", "backward")
    yield from recurrent(s, "gru", "l0", "GRU")
    yield told.weight("norm", "LayerNormalization", "gamma", s["norm.weight"])
    yield told.weight("norm", "LayerNormalization", "beta", s["norm.bias"])
    yield told.weight("out", "Dense", "kernel", s["out.weight"].T)
    yield told.weight("out", "Dense", "bias", s["out.bias"])


def signals(s: dict[str, Any], _: bool) -> Any:
    yield told.weight("layers/0", "Conv1D", "kernel", conv(s["layers.0.weight"]))
    yield told.weight("layers/0", "Conv1D", "bias", s["layers.0.bias"])
    yield told.weight("layers/1", "DepthwiseConv1D", "kernel", depthwise(s["layers.1.weight"], 4))
    yield told.weight("layers/1", "DepthwiseConv1D", "bias", s["layers.1.bias"])
    yield from recurrent(s, "rnn", "l0", "SimpleRNN")
    yield told.weight("wide", "Conv3D", "kernel", conv(s["wide.weight"]))
    yield told.weight("wide", "Conv3D", "bias", s["wide.bias"])


def main(folder: Path) -> None:
    torch.manual_seed(0)
    models = (
        ("images", Images(), images, torch.randn(1, 3, 12, 12), (True, False)),
        ("words", Words(), words, torch.zeros(1, 7, dtype=torch.long), (True, False)),
        ("signals", Signals(), signals, torch.randn(1, 2, 9), (False,)),
    )
    for name, model, say, example, dynamos in models:
        with torch.no_grad():
            for tensor in model.state_dict().values():
                if tensor.is_floating_point():
                    tensor.copy_(torch.rand_like(tensor) + 0.1)  # all different, and variances above 0
        state = {key: value.numpy() for key, value in model.state_dict().items()}
        for dynamo in dynamos:
            path = folder / f"torch_{name}_{'dynamo' if dynamo else 'script'}.onnx"
            options: dict[str, Any] = {"dynamo": dynamo}
            if dynamo:
                options |= {"external_data": False, "verbose": False}
            else:
                options |= {"training": torch.onnx.TrainingMode.PRESERVE}  # or normalisations would be folded
            torch.onnx.export(model.eval(), (example,), path, **options)
            told.without_paths(path)
            told.write(path, list(say(state, dynamo)), WRITTEN_BY)
    outside = onnx.load(folder / "torch_words_script.onnx")
    onnx.save(
        outside,
        folder / "torch_outside.onnx",
        save_as_external_data=True,
        location="torch_outside.bin",
        size_threshold=0,
    )
    (folder / "torch_outside.json").write_text((folder / "torch_words_script.json").read_text())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
