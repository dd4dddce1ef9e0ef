"""The vocabulary: whole names of modules that decide where shapes do not.

Collected from torchvision's models, from `transformers` (whose classes were searched for names that stand for one kind
of module only), from Meta's and nanoGPT's Llama and GPT files, and from GGUF's list of tensor names.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_LINEAR = _words(
    "q_proj k_proj v_proj o_proj out_proj proj_out proj_in gate_proj up_proj down_proj in_proj x_proj dt_proj "
    "fc fc1 fc2 fc3 linear linear1 linear2 linear_1 linear_2 lin1 lin2 dense dense1 dense2 lm_head embed_out "
    "classifier score qa_outputs seq_relationship text_projection visual_projection projection proj reduction "
    "wq wk wv wo w1 w2 w3 wi wi_0 wi_1 q_a_proj q_b_proj kv_b_proj kv_a_proj_with_mqa output_proj value_proj "
    "attn_q attn_k attn_v attn_output ffn_up ffn_down ffn_gate"
)
"""Of a two-dimensional weight without a bias: Linear, and no Embedding."""

_LINEAR_TOGETHER = (
    frozenset({"query", "key", "value"}),
    frozenset({"q", "k", "v"}),
    frozenset({"q", "k", "v", "o"}),
)
"""The same, of modules that stand side by side."""

_EMBEDDING = _words(
    "embed_tokens word_embeddings word_embedding position_embeddings position_embedding token_type_embeddings "
    "embed_positions pos_embedding token_embedding tok_embeddings embeddings shared wte wpe embed_in "
    "relative_attention_bias row_embeddings column_embeddings x_position_embeddings y_position_embeddings "
    "token_embd position_embd token_types"
)
"""Of a two-dimensional weight without a bias: Embedding, and no Linear."""

CONV1D = frozenset({"c_attn", "q_attn", "c_proj", "c_fc"})
"""Linear layers of GPT-2 and its like. transformers' are `Conv1D`, whose weight is (inputs, units); others' are not."""

_NORM = frozenset({"norm", "layernorm", "layrnorm", "rmsnorm", "groupnorm", "ln", "bn"})
"""One of these among the words of a name, of a single vector: the factors of a normalisation, and no PReLU."""

_CONVOLUTION = re.compile(
    r"conv\d*|conv_\d+|conv[123]d\d*|convs|conv_(in|out|stem|head|pw|dw|pwl|proj|shortcut|pre)|convolution\d*"
    r"|(depthwise|pointwise|residual|expand|project|quant)_conv\d?|depthwise|pointwise|dwconv|pwconv"
    r"|patch_embeddings?|projection|proj|downsample|(nin_)?shortcut|stem|fc[12]|classifier|branch\d"
)
_SURELY_CONVOLUTION = re.compile(r"(.*_)?conv(\d|_|$).*|conv(s|olution\d*)")
_CONVOLUTIONS_BELOW = frozenset({"features"})
"""All below is convolutions, whatever it is called."""

_PERHAPS_TRANSPOSED = re.compile(
    r"deconv|up_?conv|upsampl|upscal|transpos|decod|generat|unpool|resiz|resampl|synth|tconv|convt"
    r"|(^|_)(up|ups|dec|gen|g|netg)\d*(_|$)"
)
_TRANSPOSED = re.compile(r"deconv\d*|up_?conv\d*|conv_?t(ranspose)?(_?[123]d)?\d*|transposed_conv\d*")


def is_linear(path: Sequence[str], siblings: Collection[str]) -> bool:
    """Whether a module is a Linear by its name. beside: the names of the modules that stand beside it."""
    last = path[-1] if path else ""
    together = any(last in names and all(name in siblings for name in names) for names in _LINEAR_TOGETHER)
    return last in _LINEAR or together or tuple(path) == ("output",)


def is_embedding(path: Sequence[str]) -> bool:
    """Whether a module is an Embedding by its name."""
    return bool(path) and path[-1] in _EMBEDDING


def may_be_embedding(path: Sequence[str]) -> bool:
    """Whether a module is called as an Embedding mostly is, and a Linear now and then."""
    return bool(path) and path[-1] in ("embedding", "embed", "emb")


def is_norm(path: Sequence[str]) -> bool:
    """Whether a module is a normalisation by its name: `input_layernorm`, `ln_1`, `LayerNorm`, `norm2`."""
    parts = re.split(r"[_\d]+", path[-1].lower()) if path else []
    return not _NORM.isdisjoint(parts)


def is_prelu(path: Sequence[str]) -> bool:
    """Whether a module is a PReLU by its name."""
    return bool(path) and re.fullmatch(r"p_?relu_?\d*", path[-1].lower()) is not None


def is_convolution(path: Sequence[str]) -> bool:
    """Whether a module is a convolution, and no transposed one, by its name and those above it."""
    named = [part for part in path if not part.isdecimal()]
    if not named or any(_PERHAPS_TRANSPOSED.search(part.lower()) for part in named):
        return False
    return _CONVOLUTION.fullmatch(named[-1]) is not None or not _CONVOLUTIONS_BELOW.isdisjoint(named)


def says_convolution(path: Sequence[str]) -> bool:
    """Whether the innermost name itself has the word in it: `conv1`, `depthwise_conv`."""
    named = [part for part in path if not part.isdecimal()]
    return bool(named) and _SURELY_CONVOLUTION.fullmatch(named[-1]) is not None


def is_transposed(path: Sequence[str]) -> bool:
    """Whether a module is a transposed convolution by its name."""
    named = [part for part in path if not part.isdecimal()]
    return bool(named) and _TRANSPOSED.fullmatch(named[-1].lower()) is not None
