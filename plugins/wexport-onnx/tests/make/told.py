"""What the scripts that make test models have in common: what a framework itself says of a weight, as JSON.

A model's JSON lists its weights: `layer` (the framework's own path), `class` (Keras 3's name of a layer that computes
the same), `role`, `direction`, `shape` in Keras' layout, and `sha256` of the float32 values in that layout, C order,
little-endian. The scripts bring every array into that layout by plain NumPy, so that a reader is held against an
independent word.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np


def weight(layer: str, class_name: str, role: str, values: Any, direction: str | None = None) -> dict[str, Any]:
    array = np.ascontiguousarray(values, "<f4")
    return {
        "layer": layer,
        "class": class_name,
        "role": role,
        "direction": direction,
        "shape": list(array.shape),
        "sha256": hashlib.sha256(array.tobytes()).hexdigest(),
    }


def write(path: Path, weights: list[dict[str, Any]], written_by: str) -> None:
    """Beside `path`, with one weight a line."""
    lines = ",\n".join("  " + json.dumps(each) for each in weights)
    path.with_suffix(".json").write_text(f'{{"written_by": "{written_by}", "weights": [\n{lines}\n]}}\n')


def without_paths(path: Path) -> None:
    """Take out of a model what the exporter says of the script and the machine: stack traces, and torch's own notes."""
    import onnx

    model = onnx.load(path)
    kept = ("namespace", "pkg.torch.onnx.name_scopes", "pkg.torch.onnx.class_hierarchy")
    for node in model.graph.node:
        node.doc_string = ""
        props = [(prop.key, prop.value) for prop in node.metadata_props if prop.key in kept]
        del node.metadata_props[:]
        for key, value in props:
            node.metadata_props.add(key=key, value=value)
    del model.graph.metadata_props[:]
    del model.graph.value_info[:]
    onnx.save(model, path)
