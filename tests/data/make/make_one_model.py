"""One CNN, one LSTM and one bidirectional GRU, each in many containers: the weights of all are the same.

Run in a virtual environment of its own:

    pip install keras==3.15.1 torch==2.13.0 safetensors onnx onnxscript numpy h5py
    python tests/data/make/make_one_model.py

Writes tests/data/one_model/. Keras builds the models, on torch, and saves its three containers. The weights then go
into torch.nn's own modules, by name, whose predictions are checked to be Keras' own; so the state dicts, and what is
made of them, are the same models by computation, not only by what this script believes of layouts.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
import torch
from described import randomise
from keras import layers
from safetensors.torch import save_file
from torch import nn

OUT = Path(__file__).resolve().parents[1] / "one_model"
RNG = np.random.default_rng(7)


# -- by Keras ----------------------------------------------------------------------------------------------------------


def keras_cnn() -> Any:
    """Convolutions and dense layers of the same shapes, which only order or content tell apart."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(6, 3, padding="same", activation="relu"),
            layers.BatchNormalization(epsilon=1e-5),
            layers.Conv2D(6, 3, padding="same", activation="relu"),
            layers.BatchNormalization(epsilon=1e-5),
            layers.Conv2D(6, 3, padding="same", activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(6, activation="relu"),
            layers.Dense(6, activation="relu"),
            layers.Dense(4),
        ]
    )


def keras_lstm() -> Any:
    return keras.Sequential(
        [keras.Input((5, 3)), layers.LSTM(7, return_sequences=True), layers.LSTM(7), layers.Dense(4)]
    )


def keras_gru() -> Any:
    return keras.Sequential([keras.Input((5, 3)), layers.Bidirectional(layers.GRU(6)), layers.Dense(4)])


# -- by torch ----------------------------------------------------------------------------------------------------------


class TorchCNN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.conv2, self.bn2 = nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.conv3 = nn.Conv2d(6, 6, 3, padding=1)
        self.fc1, self.fc2, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.bn1(self.conv1(x).relu())
        x = self.bn2(self.conv2(x).relu())
        x = self.conv3(x).relu().mean((2, 3))
        return self.head(self.fc2(self.fc1(x).relu()).relu())


class TorchLSTM(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 7, num_layers=2, batch_first=True)
        self.head = nn.Linear(7, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(x)[0][:, -1])


class TorchGRU(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(3, 6, batch_first=True, bidirectional=True)
        self.head = nn.Linear(12, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.gru(x)
        return self.head(torch.cat([y[:, -1, :6], y[:, 0, 6:]], -1))


def set_torch_cnn(module: Any, weights: list[np.ndarray]) -> None:
    values = iter(weights)
    for conv, norm in ((module.conv1, module.bn1), (module.conv2, module.bn2), (module.conv3, None)):
        put(conv.weight, next(values).transpose(3, 2, 0, 1))
        put(conv.bias, next(values))
        for vector in (norm.weight, norm.bias, norm.running_mean, norm.running_var) if norm else ():
            put(vector, next(values))
    for dense in (module.fc1, module.fc2, module.head):
        put(dense.weight, next(values).T)
        put(dense.bias, next(values))


def set_torch_lstm(module: Any, weights: list[np.ndarray]) -> None:
    for layer in (0, 1):
        kernel, recurrent, bias = weights[3 * layer : 3 * layer + 3]
        put(getattr(module.lstm, f"weight_ih_l{layer}"), kernel.T)  # both in the order i f c o
        put(getattr(module.lstm, f"weight_hh_l{layer}"), recurrent.T)
        quarter = bias / 4
        # The sum of torch's two biases is Keras' one to the last bit.
        share = np.where(quarter + (bias - quarter) == bias, quarter, bias / 2)
        put(getattr(module.lstm, f"bias_ih_l{layer}"), share)
        put(getattr(module.lstm, f"bias_hh_l{layer}"), bias - share)
    put(module.head.weight, weights[6].T)
    put(module.head.bias, weights[7])


def set_torch_gru(module: Any, weights: list[np.ndarray]) -> None:
    def r_z_n(array: np.ndarray) -> np.ndarray:
        z, r, h = np.split(array, 3, -1)
        return np.concatenate([r, z, h], -1)

    for number, end in enumerate(("", "_reverse")):
        kernel, recurrent, bias = weights[3 * number : 3 * number + 3]
        put(getattr(module.gru, f"weight_ih_l0{end}"), r_z_n(kernel).T)
        put(getattr(module.gru, f"weight_hh_l0{end}"), r_z_n(recurrent).T)
        put(getattr(module.gru, f"bias_ih_l0{end}"), r_z_n(bias[0]))
        put(getattr(module.gru, f"bias_hh_l0{end}"), r_z_n(bias[1]))
    put(module.head.weight, weights[6].T)
    put(module.head.bias, weights[7])


def put(parameter: Any, values: np.ndarray) -> None:
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(np.ascontiguousarray(values)))


# -- all containers ----------------------------------------------------------------------------------------------------


def save(name: str, model: Any, module: Any, inputs: np.ndarray) -> None:
    for suffix in (".h5", ".keras"):
        model.save(OUT / f"{name}{suffix}")
    model.save_weights(OUT / f"{name}.weights.h5")
    np.savez(
        OUT / f"{name}.keras_names.npz", **{weight.path: keras.ops.convert_to_numpy(weight) for weight in model.weights}
    )
    state = {key: value.detach().clone() for key, value in module.state_dict().items()}
    torch.save(state, OUT / f"{name}.pt")
    save_file(state, OUT / f"{name}.safetensors", metadata={"format": "pt"})
    np.savez(OUT / f"{name}.torch_names.npz", **{key: value.numpy() for key, value in state.items()})
    torch.onnx.export(module, (torch.from_numpy(inputs[:1]),), OUT / f"{name}.onnx", dynamo=False)


def check(name: str, model: Any, module: Any, inputs: np.ndarray) -> None:
    """Both frameworks compute the same."""
    own = np.asarray(keras.ops.convert_to_numpy(model(inputs)))
    channels_first = inputs.transpose(0, 3, 1, 2) if inputs.ndim == 4 else inputs
    with torch.no_grad():
        other = module(torch.from_numpy(np.ascontiguousarray(channels_first))).numpy()
    worst = np.abs(own - other).max()
    print(f"{name}: largest difference of predictions {worst:.2e}")
    assert worst < 1e-5


def main() -> None:
    OUT.mkdir(exist_ok=True)
    kinds = (
        ("cnn", keras_cnn(), TorchCNN(), set_torch_cnn, (8, 8, 3)),
        ("lstm", keras_lstm(), TorchLSTM(), set_torch_lstm, (5, 3)),
        ("gru", keras_gru(), TorchGRU(), set_torch_gru, (5, 3)),
    )
    for name, model, module, transfer, shape in kinds:
        randomise(model.weights, seed=len(name))
        transfer(module, [keras.ops.convert_to_numpy(weight) for weight in model.weights])
        module.eval()
        inputs = RNG.normal(size=(4, *shape)).astype(np.float32)
        check(name, model, module, inputs)
        sample = inputs.transpose(0, 3, 1, 2) if inputs.ndim == 4 else inputs
        save(name, model, module, np.ascontiguousarray(sample))


if __name__ == "__main__":
    main()
