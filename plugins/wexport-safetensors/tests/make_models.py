"""Small safetensors files by the real libraries, and what torch itself holds of every tensor.

Run in a virtual environment of its own:

    pip install torch==2.13.0 transformers==5.24.0 safetensors==0.8.0 numpy
    python plugins/wexport-safetensors/tests/make_models.py

Writes models/ beside this script: transformers' models by `save_pretrained`, one of them in shards, and every type that
torch saves, 8-bit floats in all their 256 values. models/expected.json has of each tensor the shape, the type, and the
SHA-256 of its values as torch turns them into float64 (little-endian, C order, every NaN the same).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.torch import save_file

OUT = Path(__file__).parent / "models"

EIGHT_BITS = ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu")
FLOATS = ("float64", "float32", "float16", "bfloat16")
WHOLE = ("int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64")


def models() -> Iterator[tuple[str, Any, str]]:
    """Name, model, and how large a shard may be."""
    sizes: dict[str, Any] = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 20}
    bert = transformers.BertConfig(intermediate_size=12, max_position_embeddings=6, **sizes)
    yield "bert", transformers.BertModel(bert), "1MB"
    gpt2 = transformers.GPT2Config(n_embd=8, n_layer=2, n_head=2, vocab_size=20, n_positions=6)
    yield "gpt2", transformers.GPT2Model(gpt2), "1MB"
    llama = transformers.LlamaConfig(intermediate_size=12, num_key_value_heads=1, **sizes)
    yield "llama", transformers.LlamaForCausalLM(llama).to(torch.bfloat16), "1KB"


def every_type() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    bits = torch.arange(256, dtype=torch.uint8)
    found = {name: bits.clone().view(getattr(torch, name)).reshape(2, 128) for name in EIGHT_BITS}
    for name in FLOATS:
        found[name] = torch.randn(3, 5, generator=generator, dtype=torch.float64).to(getattr(torch, name))
    for name in WHOLE:
        dtype = getattr(torch, name)
        info = torch.iinfo(dtype)
        found[name] = torch.tensor([info.min, 0, 1, info.max], dtype=dtype)
    found["bool"] = torch.tensor([True, False, True])
    found["complex64"] = torch.tensor([1 + 2j], dtype=torch.complex64)
    found["scalar"] = torch.tensor(2.5)
    found["empty"] = torch.zeros(0, 3)
    return found


def said(state: Mapping[str, torch.Tensor]) -> dict[str, list[Any]]:
    return {
        name: [list(value.shape), str(value.dtype).removeprefix("torch."), digest(value)]
        for name, value in state.items()
    }


def digest(value: torch.Tensor) -> str:
    if value.is_complex():
        return ""
    numbers = value.to(torch.float64).numpy()
    return hashlib.sha256(np.where(np.isnan(numbers), np.nan, numbers).astype("<f8").tobytes()).hexdigest()


def main() -> None:
    OUT.mkdir(exist_ok=True)
    expected = {}
    for name, model, shard in models():
        torch.manual_seed(1)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
        model.save_pretrained(OUT / name, max_shard_size=shard)
        for config in ("config.json", "generation_config.json"):
            (OUT / name / config).unlink(missing_ok=True)
        expected[name] = said(model.state_dict())
    types = every_type()
    save_file(types, OUT / "types.safetensors", metadata={"format": "pt", "note": "every type"})
    expected["types"] = said(types)
    (OUT / "expected.json").write_text(json.dumps(expected, indent=0))
    for path in OUT.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


if __name__ == "__main__":
    main()
