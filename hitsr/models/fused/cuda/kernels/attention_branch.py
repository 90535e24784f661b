"""The attention branch of a block in one launch: norm, products, attention, projection, residual.

A program has one window, whose tokens stay in registers: features are read and written once, and
neither queries, keys, values nor scores reach memory. For inference: there are no gradients.

Shapes: b batch, h height, w width, c channels, t tokens of a window, m heads, d channels of a head.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from hitsr.models.fused.cuda.kernels.common import (
    LOG2E,
    channels,
    normed,
    product,
    rounded,
    rows_of,
)
from hitsr.models.fused.cuda.kernels.launch import DTYPES, fits, launch, product_of
from hitsr.models.windows import SEPARATE

MOST_CHANNELS = 64
WINDOWS = range(4, 9)
_TYPES = {torch.float16: tl.float16, torch.bfloat16: tl.bfloat16}


@triton.jit
def _part(
    weight_p, bias_p, high, low, first,
    C: tl.constexpr, CP: tl.constexpr, D: tl.constexpr, DP: tl.constexpr, SPLIT: tl.constexpr,
):  # fmt: skip
    """D outputs of a linear layer of tokens, from `first` on: (tokens, DP) float32."""
    weight = rows_of(weight_p + first * C, C, D, C, DP, CP)
    weight_high, weight_low = rounded(weight, SPLIT, high.dtype)
    bias = tl.broadcast_to(channels(bias_p + first, D, DP)[None, :], (high.shape[0], DP))
    return product(high, low, tl.trans(weight_high), tl.trans(weight_low), bias, SPLIT)


@triton.jit(do_not_specialize=["h", "w", "rows", "columns", "shift"])
def _attention_branch(
    x_p, norm_weight_p, norm_bias_p, qkv_weight_p, qkv_bias_p, proj_weight_p, proj_bias_p, bias_p,
    context_p, y_p, h, w, rows, columns, shift, eps, scale, separate,
    C: tl.constexpr, CP: tl.constexpr, HEADS: tl.constexpr, D: tl.constexpr, DP: tl.constexpr,
    SIDE: tl.constexpr, TP: tl.constexpr, BIASED: tl.constexpr,
    CONTEXT: tl.constexpr, SPLIT: tl.constexpr, DT: tl.constexpr,
):  # fmt: skip
    T: tl.constexpr = SIDE * SIDE
    window = tl.program_id(0)
    picture = window // (rows * columns)
    row = (window // columns) % rows
    column = window % columns
    t = tl.arange(0, TP)
    c = tl.arange(0, CP)
    # Tokens' places in the shifted picture, and in the picture.
    down = row * SIDE + t // SIDE
    right = column * SIDE + t % SIDE
    y = down + shift
    x = right + shift
    y = tl.where(y < h, y, y - h)
    x = tl.where(x < w, x, x - w)
    at = ((picture * h + y) * w + x)[:, None] * C + c[None, :]
    real = (t < T)[:, None] & (c < C)[None, :]
    features = tl.load(x_p + at, mask=real, other=0.0).to(tl.float32)
    norm_weight, norm_bias = channels(norm_weight_p, C, CP), channels(norm_bias_p, C, CP)
    unit = normed(features, c < C, norm_weight, norm_bias, eps, C)
    if CONTEXT:
        own = (picture * rows + y // SIDE) * columns + x // SIDE
        added = tl.load(context_p + own[:, None] * C + c[None, :], mask=real, other=0.0)
        unit += added.to(tl.float32)
    high, low = rounded(unit, SPLIT, DT)
    region = 2 * (down >= h - shift).to(tl.int32) + (right >= w - shift).to(tl.int32)
    has_regions = (shift > 0) & ((row == rows - 1) | (column == columns - 1))
    out = features + channels(proj_bias_p, C, CP)[None, :]
    for head in range(HEADS):
        first = head * D
        q = _part(qkv_weight_p, qkv_bias_p, high, low, first, C, CP, D, DP, SPLIT)
        k = _part(qkv_weight_p, qkv_bias_p, high, low, first + C, C, CP, D, DP, SPLIT)
        v = _part(qkv_weight_p, qkv_bias_p, high, low, first + 2 * C, C, CP, D, DP, SPLIT)
        q_high, q_low = rounded(q * scale, SPLIT, DT)
        k_high, k_low = rounded(k, SPLIT, DT)
        scores = tl.zeros((TP, TP), tl.float32)
        if BIASED:
            scores += rows_of(bias_p + head * T * T, T, T, T, TP, TP).to(tl.float32)
        scores = product(q_high, q_low, tl.trans(k_high), tl.trans(k_low), scores, SPLIT)
        if has_regions:
            scores += tl.where(region[:, None] == region[None, :], 0.0, separate)
        if T < TP:
            scores = tl.where((t < T)[None, :], scores, float("-inf"))
        # One multiplication and addition before exp2; divided after the product, in fewer values.
        most = tl.max(scores, 1) * LOG2E
        weights = tl.exp2(scores * LOG2E - most[:, None])
        share = 1.0 / tl.sum(weights, 1)
        weights_high, weights_low = rounded(weights, SPLIT, DT)
        v_high, v_low = rounded(v, SPLIT, DT)
        mixed = tl.zeros((TP, DP), tl.float32)
        mixed = product(weights_high, weights_low, v_high, v_low, mixed, SPLIT) * share[:, None]
        mixed_high, mixed_low = rounded(mixed, SPLIT, DT)
        proj = rows_of(proj_weight_p + first, C, C, D, CP, DP)
        proj_high, proj_low = rounded(proj, SPLIT, DT)
        out = product(mixed_high, mixed_low, tl.trans(proj_high), tl.trans(proj_low), out, SPLIT)
    tl.store(y_p + at, out.to(y_p.dtype.element_ty), mask=real)


def why_not_branch(x_bhwc: Tensor, qkv: nn.Linear, heads: int, window: int) -> str | None:
    """Why `attention_branch` cannot take features or a layer of such a size; None if it can."""
    c = x_bhwc.shape[-1]
    if c > MOST_CHANNELS:
        return f"{c} channels, more than {MOST_CHANNELS}"
    if window not in WINDOWS:
        return f"windows of {window}, not {WINDOWS[0]} to {WINDOWS[-1]}"
    if qkv.out_features != 3 * c or c % heads:
        return f"{qkv.out_features} queries, keys and values, not 3 x {c} in {heads} heads"
    if not fits(x_bhwc.numel()):
        return "more than 2^31 - 1 features"
    return None


def attention_branch(
    x_bhwc: Tensor,
    norm: nn.LayerNorm,
    qkv: nn.Linear,
    proj: nn.Linear,
    bias_mtt: Tensor | None,
    *,
    heads: int,
    window: int,
    shift: int = 0,
    context: Tensor | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """x + proj(attention(qkv(norm(x) + context))): (b, h, w, c), in the dtype of x.

    Attention is that of `models.attention.Attention` in the paper formulation: in windows of
    `window` x `window` pixels, of which h and w are multiples, shifted by `shift` pixels below
    `window`. `bias_mtt` is added to the scores; `context` (b, h / window, w / window, c) has a
    vector for each window of the picture before the shift. Both layers have biases.
    `why_not_branch` says what is too large. Tensors may have any of the types of `launch.DTYPES`,
    each its own.

    `dtype` is that of the products, by default x's. Products of float32 are exact to 2^-22 of their
    largest terms, or as exact as float16 where PyTorch may use TF32; normed features, queries,
    keys, values and weights beyond 65504 then become NaN, as they do with float16.
    """
    b, h, w, c = x_bhwc.shape
    assert x_bhwc.dtype in DTYPES, x_bhwc.dtype
    assert h % window == w % window == 0 <= shift < window, (h, w, window, shift)
    assert why_not_branch(x_bhwc, qkv, heads, window) is None
    assert bias_mtt is None or bias_mtt.shape == (heads, window**2, window**2), bias_mtt.shape
    rows, columns, d = h // window, w // window, c // heads
    assert context is None or context.shape == (b, rows, columns, c), context.shape
    dtype = dtype or x_bhwc.dtype
    x = x_bhwc.contiguous()
    out = torch.empty_like(x)
    tokens = max(16, triton.next_power_of_2(window**2))
    layers = [each for layer in (norm, qkv, proj) for each in (layer.weight, layer.bias)]
    optional = [None if each is None else each.contiguous() for each in (bias_mtt, context)]
    launch(
        _attention_branch,
        (b * rows * columns,),
        (x, *layers, *optional, out),
        (h, w, rows, columns, shift, norm.eps, d**-0.5, SEPARATE),
        warps=tokens // 16,
        C=c,
        CP=max(16, triton.next_power_of_2(c)),
        HEADS=heads,
        D=d,
        DP=max(16, triton.next_power_of_2(d)),
        SIDE=window,
        TP=tokens,
        BIASED=bias_mtt is not None,
        CONTEXT=context is not None,
        SPLIT=product_of(dtype) == "tf32x3",
        DT=_TYPES.get(dtype, tl.float16),
    )
    return out
