"""Parameters that are stored as codes, masks or products: figures are of values, and parts are named.

Codes are packed here by plain loops, from what each format's own documentation says.
"""

from __future__ import annotations

import json
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from wexport.model.tensors import Tensor
from wexport.state_dict import decoded, describe

RNG = np.random.default_rng(0)


def tensors(arrays: dict[str, Any]) -> list[Tensor]:
    return [Tensor.of_array(name, np.asarray(array)) for name, array in arrays.items()]


def values(tensor: Tensor, limit: int = 1 << 20) -> Any:
    chunks = [chunk.copy() for chunk in tensor.chunks(limit)]
    assert all(chunk.nbytes <= max(limit, 4) for chunk in chunks)
    return np.concatenate(chunks).reshape(tensor.shape)


def check(arrays: dict[str, Any], name: str, expected: Any, dtype: str, *, parts: set[str]) -> Tensor:
    """One tensor of values, whatever the size of chunks; everything else is named, with its bytes."""
    found = decoded(tensors(arrays))
    tensor = {each.name: each for each in found.tensors}[name]
    assert (tensor.shape, tensor.dtype, tensor.value_dtype) == (expected.shape, dtype, "float32")
    for limit in (64, 999, 1 << 20):
        np.testing.assert_allclose(values(tensor, limit), expected, rtol=1e-6, atol=1e-7)
    assert {each.name for each in found.skipped} == parts
    assert all(each.size == np.asarray(arrays[each.name]).nbytes for each in found.skipped)
    assert {each.name for each in found.tensors} | parts | {found.made_of[name]} >= arrays.keys()
    return tensor


# -- four bits in integers ---------------------------------------------------------------------------------------------

INPUTS, UNITS, GROUPS = 32, 16, 2


def packed(codes: Any, axis: int, bits: int, order: Any = None) -> Any:
    """Codes along an axis in 32-bit integers."""
    per = 32 // bits
    order = list(range(per)) if order is None else list(order)
    moved = np.moveaxis(np.asarray(codes, np.uint64), axis, -1)
    found = np.zeros((*moved.shape[:-1], moved.shape[-1] // per), np.uint64)
    for place in range(found.shape[-1]):
        for number in range(per):
            found[..., place] |= moved[..., place * per + order[number]] << np.uint64(bits * number)
    return np.moveaxis(found.astype(np.uint32).view(np.int32), -1, axis)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("second", [False, True], ids=["first version", "symmetric of the second"])
@pytest.mark.parametrize("shuffled", [False, True])
def test_gptq(bits: int, second: bool, shuffled: bool) -> None:
    codes = RNG.integers(0, 1 << bits, (INPUTS, UNITS))
    zeros = np.full((GROUPS, UNITS), 1 << bits - 1) if second else RNG.integers(1, 1 << bits, (GROUPS, UNITS))
    scales = RNG.uniform(0.1, 1, (GROUPS, UNITS)).astype(np.float16)
    group = RNG.permutation(np.arange(INPUTS) * GROUPS // INPUTS) if shuffled else np.arange(INPUTS) * GROUPS // INPUTS
    arrays = {
        "a.q_proj.qweight": packed(codes, 0, bits),
        "a.q_proj.qzeros": packed(zeros if second else zeros - 1, 1, bits),
        "a.q_proj.scales": scales,
    }
    if shuffled:
        arrays["a.q_proj.g_idx"] = group.astype(np.int32)
    expected = (codes - zeros[group]).astype(np.float32) * scales.astype(np.float32)[group]
    parts = {name for name in arrays if not name.endswith("qweight")}
    tensor = check(arrays, "a.q_proj.weight", expected, f"uint{bits}", parts=parts)
    assert tensor.role == "kernel"


def test_awq() -> None:
    codes, zeros = RNG.integers(0, 16, (INPUTS, UNITS)), RNG.integers(0, 16, (GROUPS, UNITS))
    scales = RNG.uniform(0.1, 1, (GROUPS, UNITS)).astype(np.float16)
    order = (0, 2, 4, 6, 1, 3, 5, 7)  # which of eight units stands at each place of an integer
    arrays = {
        "m.qweight": packed(codes, 1, 4, order),
        "m.qzeros": packed(zeros, 1, 4, order),
        "m.scales": scales,
        "m.bias": np.ones(UNITS, np.float32),
    }
    group = np.arange(INPUTS) * GROUPS // INPUTS
    expected = (codes - zeros[group]).astype(np.float32) * scales.astype(np.float32)[group]
    check(arrays, "m.weight", expected, "uint4", parts={"m.qzeros", "m.scales"})
    told = {tensor.name: tensor for tensor in describe(decoded(tensors(arrays)).tensors, ordered=True)}
    assert (told["m.weight"].role, told["m.weight"].layer_class, told["m.bias"].role) == ("kernel", "Dense", "bias")


def test_codes_whose_parts_do_not_fit_stay_codes() -> None:
    arrays = {
        "m.qweight": np.zeros((4, UNITS), np.int32),
        "m.qzeros": np.zeros((GROUPS, 3), np.int32),
        "m.scales": np.ones((GROUPS, UNITS), np.float16),
    }
    found = decoded(tensors(arrays))
    assert [each.name for each in found.tensors] == list(arrays)
    assert not found.skipped


# -- bitsandbytes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nested", [False, True])
def test_bitsandbytes_in_four_bits(nested: bool) -> None:
    shape, block = (6, 40), 16
    codes = RNG.integers(0, 16, shape).reshape(-1)
    table = np.sort(RNG.uniform(-1, 1, 16)).astype(np.float32)
    scales = RNG.uniform(0.5, 2, codes.size // block).astype(np.float32)
    said = {"quant_type": "nf4", "blocksize": block, "dtype": "bfloat16", "shape": list(shape)}
    arrays: dict[str, Any] = {"m.weight": (codes[::2] << 4 | codes[1::2]).astype(np.uint8)[:, None]}
    if nested:
        inner = np.sort(RNG.uniform(-1, 1, 256)).astype(np.float32)
        absmax = RNG.integers(0, 256, scales.size).astype(np.uint8)
        outer = RNG.uniform(0.5, 2, -(-scales.size // 4)).astype(np.float32)
        scales = inner[absmax] * outer[np.arange(scales.size) // 4] + np.float32(0.25)
        said |= {"nested_blocksize": 4, "nested_dtype": "float32", "nested_offset": 0.25}
        arrays |= {"m.weight.nested_absmax": outer, "m.weight.nested_quant_map": inner, "m.weight.absmax": absmax}
    else:
        arrays["m.weight.absmax"] = scales
    state = np.frombuffer(json.dumps(said).encode(), np.uint8)
    arrays |= {"m.weight.quant_map": table, "m.weight.quant_state.bitsandbytes__nf4": state}
    expected = (table[codes] * np.repeat(scales, block)).reshape(shape)
    check(arrays, "m.weight", expected, "nf4", parts=arrays.keys() - {"m.weight"})


@pytest.mark.parametrize(
    "state", [b"{", b"[]", b'{"shape": [4, 4]}', b'{"shape": [4, 4], "blocksize": 0}', b"[" * 9000]
)
def test_a_state_that_says_nothing_leaves_the_codes(state: bytes) -> None:
    arrays = {
        "m.weight": np.zeros((8, 1), np.uint8),
        "m.weight.absmax": np.ones(1, np.float32),
        "m.weight.quant_map": np.ones(16, np.float32),
        "m.weight.quant_state.bitsandbytes__nf4": np.frombuffer(state, np.uint8),
    }
    assert len(decoded(tensors(arrays)).tensors) == 4


def test_bitsandbytes_in_eight_bits() -> None:
    codes, scale = RNG.integers(-127, 128, (5, 7)).astype(np.int8), RNG.uniform(1, 2, 5).astype(np.float32)
    expected = codes.astype(np.float32) * (scale / np.float32(127))[:, None]
    check({"m.weight": codes, "m.SCB": scale}, "m.weight", expected, "int8", parts={"m.SCB"})


# -- scales of blocks --------------------------------------------------------------------------------------------------

FP4 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)


def test_microscaling() -> None:
    codes, powers = RNG.integers(0, 16, (2, 3, 4, 32)), RNG.integers(120, 134, (2, 3, 4)).astype(np.uint8)
    blocks = (codes[..., 0::2] | codes[..., 1::2] << 4).astype(np.uint8)
    expected = FP4[codes] * (2.0 ** (powers.astype(np.float32) - 127))[..., None]
    arrays = {"mlp.experts.up_blocks": blocks, "mlp.experts.up_scales": powers}
    check(arrays, "mlp.experts.up", expected.reshape(2, 3, 128), "float4_e2m1fn", parts={"mlp.experts.up_scales"})


@pytest.mark.parametrize("reciprocal", [False, True])
def test_nvfp4(reciprocal: bool) -> None:
    codes = RNG.integers(0, 16, (3, 32))
    scale = RNG.uniform(0.5, 4, (3, 2)).astype(ml_dtypes.float8_e4m3fn)
    outer = np.array(0.5, np.float32)
    name, other = ("weight_packed", "weight_global_scale") if reciprocal else ("weight", "weight_scale_2")
    arrays = {
        f"m.{name}": (codes[:, 0::2] | codes[:, 1::2] << 4).astype(np.uint8),
        "m.weight_scale": scale,
        f"m.{other}": outer,
    }
    factor = 2.0 if reciprocal else 0.5
    expected = FP4[codes] * np.repeat(scale.astype(np.float32) * np.float32(factor), 16, 1)
    check(arrays, "m.weight", expected, "float4_e2m1fn", parts={"m.weight_scale", f"m.{other}"})


@pytest.mark.parametrize(
    ("shape", "scales"),
    [((3, 5), ()), ((3, 5), (1,)), ((3, 5), (3, 1)), ((3, 5), (3,)), ((200, 300), (2, 3)), ((4, 8), (4, 2))],
)
def test_fp8_with_scales(shape: tuple[int, ...], scales: tuple[int, ...]) -> None:
    codes = RNG.normal(size=shape).astype(ml_dtypes.float8_e4m3fn)
    scale = RNG.uniform(0.5, 2, scales).astype(np.float32)
    spread = scale.reshape(1, 1) if scale.size == 1 else scale.reshape(scale.shape[0], -1)
    sides = [128 if length > 128 else -(-length // count) for length, count in zip(shape, spread.shape, strict=True)]
    spread = np.repeat(np.repeat(spread, sides[0], 0), sides[1], 1)[: shape[0], : shape[1]]
    name = "weight_scale_inv" if len(scales) == 2 else "weight_scale"
    arrays = {"m.weight": codes, f"m.{name}": scale}
    check(arrays, "m.weight", codes.astype(np.float32) * spread, "float8_e4m3fn", parts={f"m.{name}"})


def test_scales_of_activations_are_not_parameters() -> None:
    codes, one = RNG.normal(size=(3, 5)).astype(ml_dtypes.float8_e4m3fn), np.ones(1, np.float32)
    arrays = {
        "m.weight": codes,
        "m.weight_scale": one,
        "m.input_scale": one,
        "m.k_scale": one,
        "other.input_scale": one,
    }
    parts = {"m.weight_scale", "m.input_scale", "m.k_scale"}
    check(arrays, "m.weight", codes.astype(np.float32), "float8_e4m3fn", parts=parts)


@pytest.mark.parametrize("bits", [4, 8])
def test_packed_integers(bits: int) -> None:
    rows, columns, group = 3, 32, 8
    codes = RNG.integers(0, 1 << bits, (rows, columns))
    scale = RNG.uniform(0.5, 2, (rows, columns // group)).astype(np.float32)
    arrays = {
        "m.weight_packed": packed(codes, 1, bits),
        "m.weight_scale": scale,
        "m.weight_shape": np.array([rows, columns]),
    }
    expected = (codes - (1 << bits - 1)).astype(np.float32) * np.repeat(scale, group, 1)
    check(arrays, "m.weight", expected, f"int{bits}", parts={"m.weight_scale", "m.weight_shape"})


# -- pruned ------------------------------------------------------------------------------------------------------------


def test_pruned_weights_are_the_product() -> None:
    weight, mask = RNG.normal(size=(4, 6)).astype(np.float32), RNG.integers(0, 2, (4, 6)).astype(np.float32)
    arrays = {"0.weight_orig": weight, "0.weight_mask": mask, "0.bias": np.ones(4, np.float32)}
    found = decoded(tensors(arrays))
    assert [tensor.name for tensor in found.tensors] == ["0.weight", "0.bias"]
    np.testing.assert_array_equal(values(found.tensors[0], 32), weight * mask)
    assert [(each.what, each.name) for each in found.skipped] == [("mask of pruned weights", "0.weight_mask")]
    told = describe(found.tensors, ordered=True)
    assert [(tensor.role, tensor.layer_class) for tensor in told] == [("kernel", "Dense"), ("bias", "Dense")]


def test_a_mask_of_another_shape_is_a_tensor() -> None:
    arrays = {"0.weight_orig": np.ones((4, 6), np.float32), "0.weight_mask": np.ones(4, np.float32)}
    assert [tensor.name for tensor in decoded(tensors(arrays)).tensors] == list(arrays)


NONSENSE: dict[str, dict[str, Any]] = {
    "blocks of one axis": {"x_blocks": np.zeros(16, np.uint8), "x_scales": np.array(1, np.uint8)},
    "no units": {
        "qweight": np.zeros((4, 0), np.int32),
        "qzeros": np.zeros((1, 0), np.int32),
        "scales": np.zeros((1, 0), np.float16),
    },
    "no scales": {"weight": np.zeros((2, 2), ml_dtypes.float8_e4m3fn), "weight_scale": np.zeros((0, 1), np.float32)},
    "a shape of NaN": {
        "weight_packed": np.zeros((2, 2), np.int32),
        "weight_scale": np.ones((2, 1), np.float32),
        "weight_shape": np.full(2, np.nan),
    },
    "a negative shape": {
        "weight_packed": np.zeros((2, 2), np.int32),
        "weight_scale": np.ones((2, 1), np.float32),
        "weight_shape": np.array([-2, -16]),
    },
    "one number": {"weight": np.array(1, np.int8), "SCB": np.ones(3, np.float32)},
}


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_is_told_as_it_is_stored(case: str) -> None:
    found = decoded(tensors(NONSENSE[case]))
    assert {tensor.name for tensor in found.tensors} == NONSENSE[case].keys()
    assert not found.skipped


def test_a_scale_of_a_scale_is_no_riddle() -> None:
    """A file may name anything anything; nothing is decoded twice, and nothing is lost."""
    one = np.ones((2, 2), np.float32)
    arrays = {"w_orig": one, "w_mask": one, "w_mask_orig": one, "w_mask_mask": one, "w": one}
    found = decoded(tensors(arrays))
    names = [tensor.name for tensor in found.tensors]
    assert len(names) == len(set(names))
    assert {*names, *(each.name for each in found.skipped), *found.made_of.values()} >= arrays.keys()


@pytest.mark.parametrize(
    ("dtype", "shape", "size"),
    [("float32", (3,), 12), ("uint4", (3,), 2), ("nf4", (4,), 2), ("float8_e4m3fn", (3,), 3), ("bool", (5,), 5)],
)
def test_stored_bytes(dtype: str, shape: tuple[int, ...], size: int) -> None:
    assert Tensor(name="w", shape=shape, dtype=dtype, chunks=lambda limit: iter(())).stored_bytes == size
