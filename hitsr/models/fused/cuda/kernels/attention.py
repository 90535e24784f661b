"""Softmax attention in (shifted) windows, from queries, keys and values to mixed features.

Shift, position bias, mask and the folding of keys are inside the kernel, in place of roll, split,
softmax, merge. Shapes: b batch, h height, w width, c channels, m heads, d channels of a head,
s cells of a window.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hitsr.models.fused.cuda.kernels.attention_gradient import gradients
from hitsr.models.fused.cuda.kernels.common import LOG2E, channels
from hitsr.models.fused.cuda.kernels.launch import fits, launch
from hitsr.models.fused.cuda.kernels.window import (
    keys,
    layout,
    padded,
    pixels,
    scores,
    share,
)

MOST_CELLS = 16  # a side
MOST_HEAD_CHANNELS = 64
MOST_CHANNELS = 64  # of attention and projection in one kernel
_MANY = 2048  # programs that keep a GPU busy, though each takes all heads in turn
_FEW = 512  # programs that leave parts of a GPU idle, if each has 64 queries


@triton.jit
def _mixed(
    qkv_p, bias_p, n, group, query, head, height, width, shift, scale,
    C: tl.constexpr, D: tl.constexpr, DP: tl.constexpr, SIDE: tl.constexpr, FOLD: tl.constexpr,
    K: tl.constexpr, BIASED: tl.constexpr, SHIFTED: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """What a head mixes for queries (q): (q, DP), and their sums of exponentials, as log2 (q).

    Goes over K keys at a time, with a running softmax.
    """
    TOKENS: tl.constexpr = SIDE * SIDE
    NARROW: tl.constexpr = C // (FOLD * FOLD)
    d = tl.arange(0, DP)
    pixel, region = pixels(n, query, group // FOLD, group % FOLD, height, width, shift, SIDE, FOLD)
    places = pixel[:, None] * (C + 2 * NARROW) + (head * D + d)[None, :]
    q = tl.load(qkv_p + places, mask=(query < TOKENS)[:, None] & (d < D)[None, :], other=0.0)
    top = tl.full((query.shape[0],), float("-inf"), tl.float32)
    total = tl.zeros((query.shape[0],), tl.float32)
    mixed = tl.zeros((query.shape[0], DP), tl.float32)
    for start in range(0, TOKENS, K):
        key = start + tl.arange(0, K)
        at, key_region = keys(n, key, head, height, width, shift, C, D, DP, SIDE, FOLD)
        real = (key < TOKENS)[:, None] & (d < D)[None, :]
        k = tl.load(qkv_p + at, mask=real, other=0.0)
        v = tl.load(qkv_p + at + NARROW, mask=real, other=0.0)
        s = scores(
            q, k, bias_p, head, query[:, None], key[None, :], region[:, None], key_region[None, :],
            scale,
            TOKENS, K, BIASED, SHIFTED, PREC,
        )  # fmt: skip
        higher = tl.maximum(top, tl.max(s, 1))
        kept = tl.exp2((top - higher) * LOG2E)
        p = tl.exp2(s * LOG2E - (higher * LOG2E)[:, None])
        total = total * kept + tl.sum(p, 1)
        mixed = tl.dot(p.to(v.dtype), v, mixed * kept[:, None], input_precision=PREC)
        top = higher
    return mixed / total[:, None], top * LOG2E + tl.log2(total)


@triton.jit(do_not_specialize=["height", "width", "shift", "all_pixels"])
def _attend(
    qkv_p, bias_p, out_p, log_p, height, width, shift, all_pixels, scale,
    C: tl.constexpr, HEADS: tl.constexpr, D: tl.constexpr, DP: tl.constexpr, SIDE: tl.constexpr,
    FOLD: tl.constexpr, Q: tl.constexpr, K: tl.constexpr, TOGETHER: tl.constexpr,
    BIASED: tl.constexpr, SHIFTED: tl.constexpr, KEPT: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """Mix TOGETHER heads for Q queries; KEPT: store their sums of exponentials for the gradient."""
    TOKENS: tl.constexpr = SIDE * SIDE
    BLOCKS: tl.constexpr = (TOKENS + Q - 1) // Q
    n, group, block, part = share(FOLD * FOLD, BLOCKS, HEADS // TOGETHER)
    query = block * Q + tl.arange(0, Q)
    pixel, _ = pixels(n, query, group // FOLD, group % FOLD, height, width, shift, SIDE, FOLD)
    d = tl.arange(0, DP)
    for head in range(part * TOGETHER, part * TOGETHER + TOGETHER):
        mixed, log = _mixed(
            qkv_p, bias_p, n, group, query, head, height, width, shift, scale,
            C, D, DP, SIDE, FOLD, K, BIASED, SHIFTED, PREC,
        )  # fmt: skip
        at = pixel[:, None] * C + (head * D + d)[None, :]
        real = (query < TOKENS)[:, None] & (d < D)[None, :]
        tl.store(out_p + at, mixed.to(out_p.dtype.element_ty), mask=real)
        if KEPT:
            tl.store(log_p + head * all_pixels + pixel, log, mask=query < TOKENS)


@triton.jit(do_not_specialize=["height", "width", "shift"])
def _attend_and_project(
    qkv_p, bias_p, weight_p, proj_bias_p, x_p, y_p, height, width, shift, scale,
    C: tl.constexpr, CP: tl.constexpr, HEADS: tl.constexpr, D: tl.constexpr, DP: tl.constexpr,
    SIDE: tl.constexpr, FOLD: tl.constexpr, Q: tl.constexpr, K: tl.constexpr,
    BIASED: tl.constexpr, SHIFTED: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """y = x + proj(attention) of Q queries."""
    TOKENS: tl.constexpr = SIDE * SIDE
    BLOCKS: tl.constexpr = (TOKENS + Q - 1) // Q
    n, group, block, _part = share(FOLD * FOLD, BLOCKS, 1)
    query = block * Q + tl.arange(0, Q)
    d, c = tl.arange(0, DP), tl.arange(0, CP)
    y = tl.zeros((Q, CP), tl.float32)
    for head in range(HEADS):
        mixed, _log = _mixed(
            qkv_p, bias_p, n, group, query, head, height, width, shift, scale,
            C, D, DP, SIDE, FOLD, K, BIASED, SHIFTED, PREC,
        )  # fmt: skip
        real = (d < D)[:, None] & (c < C)[None, :]
        at = c[None, :] * C + (head * D + d)[:, None]
        weight = tl.load(weight_p + at, mask=real, other=0.0).to(qkv_p.dtype.element_ty)
        y = tl.dot(mixed.to(weight.dtype), weight, y, input_precision=PREC)
    pixel, _ = pixels(n, query, group // FOLD, group % FOLD, height, width, shift, SIDE, FOLD)
    at = pixel[:, None] * C + c[None, :]
    real = (query < TOKENS)[:, None] & (c < C)[None, :]
    y += channels(proj_bias_p, C, CP)[None, :]
    y += tl.load(x_p + at, mask=real, other=0.0).to(tl.float32)
    tl.store(y_p + at, y.to(y_p.dtype.element_ty), mask=real)


def why_not(
    x: Tensor, *, heads: int, window: int, fold: int = 1, projected: bool = False
) -> str | None:
    """Why the kernels cannot take attention of features x (b, h, w, c); None if they can.

    Limits: windows of at most 16x16 cells, heads of at most 64 channels, fewer than 2**31 values in
    qkv; if `projected`, for `attend_and_project`, at most 64 channels.
    """
    b, h, w, c = x.shape
    if (side := window // fold) > MOST_CELLS:
        return f"windows of {side}x{side} cells, more than {MOST_CELLS}x{MOST_CELLS}"
    if c // heads > MOST_HEAD_CHANNELS:
        return f"{c // heads} channels of a head, more than {MOST_HEAD_CHANNELS}"
    if projected and c > MOST_CHANNELS:
        return f"{c} channels, more than {MOST_CHANNELS}"
    if not fits(b * h * w * (c + 2 * c // fold**2)):
        return "more values than 32 bits count"
    return None


def window_attention(
    qkv: Tensor, bias: Tensor | None, *, heads: int, window: int, shift: int = 0, fold: int = 1
) -> Tensor:
    """Softmax attention in windows, before its projection: (b, h, w, c), in the type of qkv.

    `Attention.attend` of what `Attention.qkv` makes: qkv (b, h, w, c + 2 c / fold²), h and w
    multiples of `window`, shift less than it. bias: (m, s, s) of each cell towards each cell, as
    `table_bias(table, window // fold, 1)` gives. Products are in the type of qkv. Sizes must be
    those that `why_not` allows. Differentiable.
    """
    if torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in (qkv, bias)):
        out: Tensor = _WindowAttention.apply(qkv, bias, heads, window, shift, fold)
        return out
    out, _ = _attended(qkv.contiguous(), bias, heads, window, shift, fold, kept=False)
    return out


class _WindowAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, qkv: Tensor, bias: Tensor | None, heads: int, window: int, shift: int, fold: int
    ) -> Tensor:
        qkv, bias = qkv.contiguous(), contiguous(bias)
        out, log = _attended(qkv, bias, heads, window, shift, fold, kept=True)
        ctx.save_for_backward(qkv, bias, out, log)
        ctx.sizes = heads, window, shift, fold
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        qkv, bias, out, log = ctx.saved_tensors
        constants, (_, _, shift, _) = layout(qkv, bias, *ctx.sizes), ctx.sizes
        to_qkv, to_bias = gradients(
            *(qkv, bias, out, log, grad.contiguous()),
            *(constants, shift, ctx.needs_input_grad[:2]),
        )
        return to_qkv, to_bias, None, None, None, None


def _attended(
    qkv: Tensor, bias: Tensor | None, heads: int, window: int, shift: int, fold: int, kept: bool
) -> tuple[Tensor, Tensor | None]:
    """Mixed features, and if `kept` the sums of exponentials, as log2: (m, b h w) float32."""
    b, h, w, _ = qkv.shape
    constants = layout(qkv, bias, heads, window, shift, fold)
    q, k = _tile(constants, qkv.dtype)
    out = qkv.new_empty(b, h, w, constants["C"])
    log = qkv.new_empty(heads, b * h * w, dtype=torch.float32) if kept else None
    programs = _programs(qkv, window, fold, q)
    together = heads if programs >= _MANY and q >= constants["SIDE"] ** 2 else 1
    launch(
        _attend,
        (programs * heads // together,),
        (qkv, contiguous(bias), out, log),
        (h, w, shift, b * h * w, constants["D"] ** -0.5),
        warps=min(4, q * constants["DP"] // 256),
        **constants,
        Q=q,
        K=k,
        TOGETHER=together,
        KEPT=kept,
    )
    return out, log


def attend_and_project(
    qkv: Tensor,
    bias: Tensor | None,
    proj: nn.Linear,
    x: Tensor,
    *,
    heads: int,
    window: int,
    shift: int = 0,
    fold: int = 1,
    dtype: torch.dtype,
) -> Tensor:
    """`x + proj(window_attention(...))` of features x (b, h, w, c), in the type of x.

    Products are in `dtype`. Not differentiable.
    """
    qkv, x = qkv.to(dtype).contiguous(), x.contiguous()
    y = torch.empty_like(x)
    constants = layout(qkv, bias, heads, window, shift, fold)
    q, k = _tile(constants, dtype)
    while q > 16 and _programs(x, window, fold, q) < _FEW:
        q //= 2
    launch(
        _attend_and_project,
        (_programs(x, window, fold, q),),
        (qkv, contiguous(bias), proj.weight, proj.bias, x, y),
        (*x.shape[1:3], shift, constants["D"] ** -0.5),
        **constants,
        CP=max(16, triton.next_power_of_2(constants["C"])),
        Q=q,
        K=k,
    )
    return y


def contiguous(bias: Tensor | None) -> Tensor | None:
    """The bias as kernels read it."""
    return None if bias is None else bias.contiguous()


def _programs(x: Tensor, window: int, fold: int, queries: int) -> int:
    """Blocks of so many queries in all windows of features x (b, h, w, ...)."""
    b, h, w = x.shape[:3]
    blocks = -(-((window // fold) ** 2) // queries)
    return b * (h // window) * (w // window) * fold**2 * blocks


def _tile(constants: dict[str, Any], dtype: torch.dtype) -> tuple[int, int]:
    """Queries and keys that a program takes at a time, without spilling registers."""
    block = padded(constants["SIDE"] ** 2)
    if dtype != torch.float32 or constants["DP"] == 16:
        return block, block
    return min(block, 64 if constants["DP"] == 32 else 32), min(block, 32)
