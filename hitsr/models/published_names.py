"""Names of weights in the published code: one table, for reading its files and for writing them.

One of our weights has one published name, except in SRFormer, whose queries have a layer of their
own. Published files also hold indices of position biases and masks of the training patch, which
the `released` formulation keeps as buffers.
"""

import re
from functools import cache

from hitsr.specs.network import NetworkSpec

# Ours and published, as whole parts of dotted names; applied in turn.
_NAMES = (
    ("groups", "layers"),
    ("blocks", "residual_group.blocks"),
    ("first", "conv_first"),
    ("first_norm", "patch_embed.norm"),
    ("last_norm", "norm"),
    ("last", "conv_after_body"),
    ("upsample.narrow", "conv_before_upsample.0"),
    ("upsample.colours", "conv_last"),
    ("context.embed", "context.unigram_embed"),
    ("context.qkv", "context.ngram_attn.qkv"),
    ("context.proj", "context.ngram_attn.proj"),
    ("context.bias_table", "context.ngram_attn.relative_position_bias_table"),
    ("context.bias_index", "context.ngram_attn.relative_position_index"),
    ("context", "ngram_window_partition.ngram_context"),
    ("bias_table", "relative_position_bias_table"),
    ("features.squeeze", "qv.conv.0"),
    ("features.spatial", "qv.conv.2"),
    ("features.expand", "qv.conv.4"),
    ("features.gate", "qv.linear"),
    ("to_base", "spatial_linear"),
    ("position.embed", "pos.pos_proj"),
    ("position.layers.0", "pos.pos1"),
    ("position.layers.1", "pos.pos2"),
    ("position.layers.2", "pos.pos3"),
    ("ffn.depthwise", "mlp.dwconv.depthwise_conv.0"),
    ("ffn.expand", "mlp.fc1"),
    ("ffn.reduce", "mlp.fc2"),
    ("mixer.patch_mask", "attn_mask"),
)
# Beside these, where the mixer is attention, and where it is correlation.
_ATTENTION = (("mixer.ngram_window_partition", "ngram_window_partition"), ("mixer", "attn"))
_CORRELATION = (("mixer", "correlation"),)


def published_names(network: NetworkSpec, name: str) -> tuple[str, ...]:
    """The published names of one of our weights, or of a buffer of the `released` formulation.

    Two if the published code has it in two parts, whose rows follow each other.
    """
    kind = network.mixer.kind
    is_permuted = kind == "permuted_attention"
    index = "aligned_relative_position_index" if is_permuted else "relative_position_index"
    table = (*_NAMES, ("bias_index", index))
    for ours, published in table + (_CORRELATION if kind == "correlation" else _ATTENTION):
        name = _whole(ours).sub(published, name)
    if is_permuted and ".attn.qkv." in name:
        return name.replace(".qkv.", ".q."), name.replace(".qkv.", ".kv.")
    return (name,)


@cache
def _whole(part: str) -> re.Pattern[str]:
    """That part of a dotted name, between dots or at an end."""
    return re.compile(rf"(?<![^.]){re.escape(part)}(?![^.])")
