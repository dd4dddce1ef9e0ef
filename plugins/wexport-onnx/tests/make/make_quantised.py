"""Models that onnxruntime quantised to integers, of one exported by torch, and what onnx says of their initialisers.

    pip install onnx onnxruntime
    python make_quantised.py FOLDER

Needs `torch_images_script.onnx` in the folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_dynamic, quantize_static


class Examples(CalibrationDataReader):
    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self._left = [{"input.1": random.normal(size=(1, 3, 12, 12)).astype("f4")} for _ in range(2)]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return self._left.pop() if self._left else None


def main(folder: Path) -> None:
    source = folder / "torch_images_script.onnx"
    quantize_static(source, folder / "quantised_qdq.onnx", Examples(), quant_format=QuantFormat.QDQ)
    quantize_static(source, folder / "quantised_operators.onnx", Examples(), quant_format=QuantFormat.QOperator)
    quantize_dynamic(source, folder / "quantised_dynamic.onnx")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
