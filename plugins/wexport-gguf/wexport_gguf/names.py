"""What the names of tensors tell. They are llama.cpp's closed vocabulary, `TENSOR_NAMES` in gguf's constants.

A name is a word, in the models' blocks behind `blk.N.`, and `.weight` or `.bias`. Only words of which it is documented
what they multiply or normalise by are listed here; a test holds them against the gguf package. All others are unknown.
"""

from __future__ import annotations

import re
from dataclasses import replace

from wexport import Layout, Node, Tensor
from wexport.reading import roles

# Before the word: nothing, or the blocks of the decoder or only stack, of T5's two stacks, of image and audio encoders.
_NAME = re.compile(r"(?P<block>(?:(?:enc|dec|v|a)\.)?blk\.\d{1,6}\.)?(?P<word>[a-z0-9_.]+?)\.(?P<last>weight|bias)")

_TOP_LINEAR = frozenset({"output", "dense_2", "dense_3", "cls", "cls.output", "per_layer_model_proj"})
_BLOCK_LINEAR = frozenset(
    {
        *("attn_qkv", "attn_q", "attn_k", "attn_v", "attn_output", "attn_out", "attn_o", "attn_gate"),
        *("cross_attn_q", "cross_attn_k", "cross_attn_v", "cross_attn_o"),
        *("attn_q_a", "attn_q_b", "attn_kv_a_mqa", "attn_kv_b"),
        *("ffn_gate", "ffn_up", "ffn_down", "ffn_gate_inp", "ffn_gate_inp_shexp"),
        *("ffn_gate_shexp", "ffn_up_shexp", "ffn_down_shexp"),
        *("ssm_in", "ssm_x", "ssm_dt", "ssm_out", "inp_gate", "proj", "nextn.eh_proj", "nextn.shared_head_head"),
    }
)
"""Matrices that a vector is multiplied by, stored (out, in) like torch's Linear."""
_EXPERTS = frozenset({"ffn_gate_exps", "ffn_up_exps", "ffn_down_exps", "ffn_gate_up_exps"})
"""The same, one matrix for each expert: (experts, out, in)."""
_TOP_NORM = frozenset(
    {"token_embd_norm", "output_norm", "enc.output_norm", "dec.output_norm", "per_layer_proj_norm"}
    | {"v.pre_ln", "v.post_ln", "a.pre_ln", "a.post_ln"}
)
_BLOCK_NORM = frozenset(
    {
        *("attn_norm", "attn_norm_2", "attn_q_norm", "attn_k_norm", "attn_output_norm", "post_attention_norm"),
        *("attn_q_a_norm", "attn_kv_a_norm", "attn_sub_norm", "cross_attn_norm"),
        *("ffn_norm", "post_ffw_norm", "pre_ffw_norm_2", "post_ffw_norm_1", "post_ffw_norm_2", "ffn_sub_norm"),
        *("layer_output_norm", "post_norm", "ssm_norm", "ssm_dt_norm", "ssm_b_norm", "ssm_c_norm"),
        *("ln1", "ln2", "nextn.enorm", "nextn.hnorm", "nextn.shared_head_norm"),
    }
)
_TOP_EMBEDDING = frozenset({"token_embd", "token_types", "position_embd", "per_layer_token_embd"})


def with_meaning(tensor: Tensor) -> Tensor:
    """A tensor with its place in the model, and where its name is one of those listed, with role, class and layout."""
    *path, leaf = tensor.name.split(".")
    match = _NAME.fullmatch(tensor.name)
    known = None if match is None else _known(match["block"] or "", match["word"], match["last"], tensor.shape)
    role, layer_class, layout = known or ("unknown", None, None)
    return replace(
        tensor,
        layer="/".join(path) or None,
        layer_class=layer_class,
        lineage=tuple(Node(part, fixed=True) for part in path),  # the vocabulary's own words go into slots as they are
        slot_leaf=leaf if known is None else None,
        role=role,
        layout=layout,
    )


def _known(block: str, word: str, last: str, shape: tuple[int, ...]) -> tuple[str, str | None, Layout] | None:
    """Role, class and layout; None for a word of which none of them is known, or that does not fit the shape."""
    if word in (_BLOCK_NORM if block else _TOP_NORM):
        role = "gamma" if last == "weight" else "beta"
        return role, None, roles.layout(None, role, shape)
    if word in (_BLOCK_LINEAR if block else _TOP_LINEAR):
        if last == "bias":
            return "bias", "Dense", roles.layout("Dense", "bias", shape)
        if len(shape) == 2:
            return "kernel", "Dense", roles.layout("Dense", "kernel", shape, permutation=(1, 0))
    elif block and word in _EXPERTS:
        if last == "bias":
            return "bias", None, Layout()
        if len(shape) == 3:
            return "kernel", None, Layout(permutation=(0, 2, 1), unit_axes=(0, 2), input_axes=(1,))
    elif not block and word in _TOP_EMBEDDING and last == "weight" and len(shape) == 2:
        return "embeddings", "Embedding", roles.layout("Embedding", "embeddings", shape)
    return None
