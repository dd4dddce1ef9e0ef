"""State dicts of real torch models: names, shapes and types, and what the modules behind them say of each tensor.

Run in a virtual environment of its own (PyTorch's CPU build will do):

    pip install torch==2.13.0 transformers==5.24.0 numpy
    pip install --no-deps torchvision==0.28.0 && pip install pillow
    python tests/data/make/make_torch_layouts.py

Writes tests/data/torch_layouts/layouts.jsonl, a line for each model: its name and "tensors", a list of [name, shape,
type, class, role, canonical shape] in the order of the state dict. Models are of full size, but without values (on
torch's meta device). class, role and canonical shape are Keras' words for what the module computes, made from the
module's own attributes (`in_features`, `kernel_size`, `groups`, ...), null where Keras has none. A depthwise
convolution may be told as either of two classes: "DepthwiseConv2D|Conv2D", with the shapes of both.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers.pytorch_utils import Conv1D

# torchvision's compiled operators are not needed to build its models.
torch.library.register_fake = lambda *_, **__: lambda function: function
torch._C._dispatch_has_kernel_for_dispatch_key = lambda *_: False
from torchvision import models as vision  # noqa: E402

OUT = Path(__file__).resolve().parents[1] / "torch_layouts"

Truth = tuple[str | None, str | None, list[Any] | None]
NOTHING: Truth = (None, None, None)

VISION = [
    *("resnet18", "resnet50", "resnext50_32x4d", "vgg11", "vgg11_bn", "alexnet", "mobilenet_v2", "mobilenet_v3_small"),
    *("efficientnet_b0", "convnext_tiny", "densenet121", "googlenet", "shufflenet_v2_x0_5", "squeezenet1_0"),
    *("mnasnet0_5", "swin_t", "vit_b_32", "r3d_18", "s3d", "fcn_resnet50", "deeplabv3_mobilenet_v3_large"),
    "maskrcnn_resnet50_fpn",
]
TEXT = [
    *("bert", "gpt2", "llama", "t5", "opt", "gpt_neox", "bloom", "falcon", "mixtral", "mamba", "distilbert", "electra"),
    *(
        "deberta-v2",
        "gemma3_text",
        "qwen3_moe",
        "phi3",
        "whisper",
        "wav2vec2",
        "clip",
        "convnextv2",
        "vit",
        "segformer",
    ),
    *("sam", "openai-gpt", "gpt_bigcode", "xlnet"),
]


# -- what a module says of its tensors ---------------------------------------------------------------------------------


def truth(module: nn.Module | None, name: str) -> Truth:
    """Keras' class, role and canonical shape of a module's own tensor."""
    told: list[tuple[Any, Callable[[Any, str], Truth]]] = [
        (nn.RNNBase, of_recurrent),
        (nn.RNNCellBase, of_recurrent),
        ((nn.Linear, Conv1D), of_linear),
        (nn.Embedding, of_embedding),
        (nn.modules.batchnorm._NormBase, of_batch_norm),
        (nn.modules.conv._ConvTransposeNd, of_transposed),
        (nn.modules.conv._ConvNd, of_convolution),
    ]
    for kind, of in told:
        if isinstance(module, kind):
            return of(module, name)
    word = type(module).__name__
    if word == "FrozenBatchNorm2d":
        return of_batch_norm(module, name)
    if isinstance(module, (nn.LayerNorm, nn.GroupNorm)) or "Norm" in word:
        return None, {"weight": "gamma", "bias": "beta"}.get(name), None
    if isinstance(module, nn.PReLU):
        return None, "alpha", None
    if isinstance(module, nn.Bilinear):
        return None, {"weight": "kernel", "bias": "bias"}[name], None
    return NOTHING


def of_linear(module: Any, name: str) -> Truth:
    inputs, units = (module.nx, module.nf) if isinstance(module, Conv1D) else (module.in_features, module.out_features)
    return ("Dense", "kernel", [inputs, units]) if name == "weight" else ("Dense", "bias", [units])


def of_embedding(module: Any, name: str) -> Truth:
    assert name == "weight"
    return "Embedding", "embeddings", [module.num_embeddings, module.embedding_dim]


def of_batch_norm(module: Any, name: str) -> Truth:
    roles = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
    if module.running_mean is None:
        return None, roles[name], None
    shape = list(module.running_mean.shape)
    return ("BatchNormalization", roles[name], shape) if name in roles else ("BatchNormalization", "count", [])


def of_convolution(module: Any, name: str) -> Truth:
    window, plain = list(module.kernel_size), f"Conv{len(module.kernel_size)}D"
    depthwise = 1 < module.groups == module.in_channels and len(window) < 3
    word = f"Depthwise{plain}|{plain}" if depthwise else plain
    if name == "bias":
        return word, "bias", [module.out_channels]
    shape = [*window, module.in_channels // module.groups, module.out_channels]
    if depthwise:
        return word, "kernel", [[*window, module.in_channels, module.out_channels // module.groups], shape]
    return word, "kernel", shape


def of_transposed(module: Any, name: str) -> Truth:
    word = f"Conv{len(module.kernel_size)}DTranspose" if module.groups == 1 else None
    if name == "bias":
        return word, "bias", [module.out_channels]
    return word, "kernel", [*module.kernel_size, module.out_channels, module.in_channels] if word else None


def of_recurrent(module: Any, name: str) -> Truth:
    word = type(module).__name__
    cell = "Cell" if word.endswith("Cell") else ""
    word = {"LSTM": "LSTM", "GRU": "GRU", "RNN": "SimpleRNN"}[word.removesuffix("Cell")] + cell
    rows, columns = getattr(module, name).shape if name.startswith("weight") else (0, 0)
    if getattr(module, "proj_size", 0):
        word = None
        if name.startswith("weight_hr"):
            return NOTHING
    if name.startswith("weight"):
        return word, "recurrent_kernel" if name.startswith("weight_hh") else "kernel", [columns, rows]
    # The two biases are one tensor of Keras': their sum, or for a GRU two rows.
    length = getattr(module, name).shape[0]
    return word, "bias", [2, length] if word and word.startswith("GRU") else [length]


# -- models that people write ------------------------------------------------------------------------------------------


def chain(*modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(*modules)


class Named(nn.Module):
    """A module that holds others by name."""

    def __init__(self, **modules: nn.Module) -> None:
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)


def own() -> Iterator[tuple[str, nn.Module]]:
    yield "lenet", Named(conv1=nn.Conv2d(1, 6, 5), conv2=nn.Conv2d(6, 16, 5), fc1=nn.Linear(256, 120))
    yield "mnist in a chain", chain(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.Flatten(), nn.Linear(9, 9))
    yield (
        "autoencoder in a chain",
        chain(
            *(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU()),
            *(nn.ConvTranspose2d(32, 32, 3), nn.ReLU(), nn.ConvTranspose2d(32, 16, 3), nn.ReLU()),
            nn.ConvTranspose2d(16, 1, 3),
        ),
    )
    up = [(100, 512), (512, 256), (256, 128), (128, 64)]
    yield (
        "dcgan generator",
        Named(
            main=chain(
                *(
                    part
                    for a, b in up
                    for part in (nn.ConvTranspose2d(a, b, 4, bias=False), nn.BatchNorm2d(b), nn.ReLU())
                ),
                nn.ConvTranspose2d(64, 3, 4, bias=False),
            )
        ),
    )
    double = chain(nn.Conv2d(128, 64, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.Conv2d(64, 64, 3, bias=False))
    yield "unet", Named(up1=Named(up=nn.ConvTranspose2d(128, 64, 2), conv=Named(double_conv=double)))
    yield "unet, named", Named(upconv4=nn.ConvTranspose2d(64, 64, 2), encoder1=Named(enc1conv1=nn.Conv2d(3, 32, 3)))
    yield "decoder with words of a convolution", Named(decoder=Named(conv1=nn.ConvTranspose2d(16, 16, 3)))
    yield "grouped transposed", chain(nn.Conv2d(3, 16, 3), nn.ConvTranspose2d(16, 16, 3, groups=2), nn.Conv2d(16, 8, 3))
    text = nn.ModuleList([nn.Conv2d(1, 100, (k, 300)) for k in (3, 4, 5)])
    yield "textcnn", Named(embedding=nn.Embedding(1000, 300), convs=text, fc=nn.Linear(300, 2))
    branches = nn.ModuleList([chain(nn.Conv1d(1, 32, k), nn.BatchNorm1d(32)) for k in (3, 7, 15)])
    yield "branches over one channel", Named(branches=branches, head=nn.Linear(96, 5))
    yield (
        "eegnet",
        Named(
            block=chain(
                *(nn.Conv2d(1, 8, (1, 64), bias=False), nn.BatchNorm2d(8), nn.Conv2d(8, 16, (22, 1), groups=8)),
                *(nn.BatchNorm2d(16), nn.Conv2d(16, 16, (1, 16), groups=16, bias=False), nn.Conv2d(16, 16, 1)),
            )
        ),
    )
    yield "bilinear", Named(bilinear=nn.Bilinear(5, 6, 7), projection=nn.Bilinear(4, 4, 4))
    for word, kind in (("LSTM", nn.LSTM), ("GRU", nn.GRU), ("RNN", nn.RNN)):
        recurrent = kind(12, 8, num_layers=2, bidirectional=True)
        yield f"tagger, {word}", Named(embedding=nn.Embedding(50, 12), rnn=recurrent, fc=nn.Linear(16, 4))
        yield f"cell, {word}", Named(cell={"LSTM": nn.LSTMCell, "GRU": nn.GRUCell, "RNN": nn.RNNCell}[word](4, 6))
    yield "projected LSTM", Named(lstm=nn.LSTM(5, 6, proj_size=3))
    yield "transformer", nn.Transformer(32, 4, 2, 2, 64)
    yield "pre-activation", Named(bn1=nn.BatchNorm2d(16), conv1=nn.Conv2d(16, 32, 3), bn2=nn.BatchNorm2d(32))
    norms = chain(nn.GroupNorm(2, 8), nn.InstanceNorm2d(8, affine=True), nn.LayerNorm([3, 4, 5]), nn.PReLU(8))
    yield "norms", Named(norms=norms, prelu=nn.PReLU(), rms_norm=nn.RMSNorm(8), stats=nn.BatchNorm1d(4, affine=False))
    yield "in parallel", Named(module=Named(conv=nn.Conv2d(3, 4, 3), fc=nn.Linear(4, 2)))
    # nanoGPT has the words of GPT-2, and Linear behind them.
    attention = Named(c_attn=nn.Linear(16, 48), c_proj=nn.Linear(16, 16))
    yield "nanogpt", Named(transformer=Named(wte=nn.Embedding(65, 16), h=nn.ModuleList([Named(attn=attention)])))


def from_config(word: str) -> nn.Module:
    config = transformers.AutoConfig.for_model(word)
    for name in ("num_hidden_layers", "n_layer", "num_layers", "n_layers", "encoder_layers", "decoder_layers"):
        if isinstance(getattr(config, name, None), int):
            setattr(config, name, min(getattr(config, name), 2))
    for kind in (transformers.AutoModelForCausalLM, transformers.AutoModel):
        try:
            return kind.from_config(config)
        except ValueError:  # no such head
            continue
    raise ValueError(word)


def everything() -> Iterator[tuple[str, nn.Module]]:
    backbones = {"weights_backbone": None}
    for word in VISION:
        detects = any(part in word for part in ("fcn", "deeplab", "rcnn"))
        yield word, vision.get_model(word, weights=None, **(backbones if detects else {}))
    for word in TEXT:
        yield word, from_config(word)
    yield from own()


def rows(model: nn.Module) -> list[list[Any]]:
    modules = dict(model.named_modules())
    found = []
    for name, value in model.state_dict().items():
        path, _, last = name.rpartition(".")
        owner = modules.get(path)
        own_class, role, shape = truth(owner, last) if last in _OWN or isinstance(owner, _RECURRENT) else NOTHING
        found.append([name, list(value.shape), str(value.dtype).removeprefix("torch."), own_class, role, shape])
    return found


_OWN = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
_RECURRENT = (nn.RNNBase, nn.RNNCellBase)


def main() -> None:
    OUT.mkdir(exist_ok=True)
    transformers.logging.set_verbosity_error()
    with torch.device("meta"):
        layouts = [{"model": name, "tensors": rows(model)} for name, model in everything()]
    lines = (json.dumps(layout, separators=(",", ":")) + "\n" for layout in layouts)
    (OUT / "layouts.jsonl").write_text("".join(lines))


if __name__ == "__main__":
    main()
