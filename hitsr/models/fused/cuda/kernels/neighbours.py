"""Attention of windows' embeddings to their neighbours, for n-gram context; with its gradient.

Each window and its neighbours on the right and below, in a second pass on the left and above, are
four tokens of a square; beyond the last window neighbours are reflected. Everything is float32
between input and output.

Shapes: b batch; rows and columns are of windows, n windows of all pictures; c channels of an
embedding, m heads, d channels of a head; g tokens of a square.
"""

from typing import TYPE_CHECKING, Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitsr.models.fused.cuda.kernels.common import reflected
from hitsr.models.fused.cuda.kernels.launch import launch
from hitsr.models.position import table_bias
from hitsr.models.precision import linear

if TYPE_CHECKING:
    from hitsr.models.ngram import NgramContext

_WINDOWS = 8  # of one program


@triton.jit
def token_of(row, column, token, backward, rows, columns):
    """Which window of its picture is a token of the square of the window at `row`, `column`."""
    down = reflected(row + token // 2 - backward, rows)
    return down * columns + reflected(column + token % 2 - backward, columns)


@triton.jit
def shares(q, k, bias_p, HEADS: tl.constexpr, MP: tl.constexpr, G: tl.constexpr):
    """Shares of keys, which a softmax gives: (W, queries, keys, MP).

    Of scaled queries and keys (W, g, MP, DP), and position biases (m, g, g).
    """
    head = tl.arange(0, MP)[None, None, :]
    query, key = tl.arange(0, G)[:, None, None], tl.arange(0, G)[None, :, None]
    at = bias_p + (head * G + query) * G + key
    bias = tl.load(at, mask=head < HEADS, other=0.0).to(tl.float32)
    scores = tl.sum(tl.expand_dims(q, 2) * tl.expand_dims(k, 1), 4) + bias[None, :, :, :]
    weights = tl.exp(scores - tl.max(scores, 2)[:, :, None, :])
    return weights / tl.sum(weights, 2)[:, :, None, :]


@triton.jit
def _channels(H: tl.constexpr, D: tl.constexpr, MP: tl.constexpr, DP: tl.constexpr):
    """Places of channels by head (1, 1, MP, DP), and which are real."""
    head = tl.arange(0, MP)[None, None, :, None]
    d = tl.arange(0, DP)[None, None, None, :]
    return head * D + d, (head * D < H) & (d < D)


@triton.jit
def _square(
    qkv_p, window, backward, rows, columns, windows, scale,
    H: tl.constexpr, D: tl.constexpr, MP: tl.constexpr, DP: tl.constexpr, G: tl.constexpr,
):  # fmt: skip
    """Scaled queries, keys and values of the squares of windows: (W, g, MP, DP)."""
    row = (window // columns) % rows
    column = window % columns
    first = window - row * columns - column  # of the picture
    token = tl.arange(0, G)[None, :]
    place = first[:, None] + token_of(row[:, None], column[:, None], token, backward, rows, columns)
    channel, is_real = _channels(H, D, MP, DP)
    at = qkv_p + place[:, :, None, None] * (3 * H) + channel
    real = (window < windows)[:, None, None, None] & is_real
    q = tl.load(at, mask=real, other=0.0).to(tl.float32) * scale
    k = tl.load(at + H, mask=real, other=0.0).to(tl.float32)
    v = tl.load(at + 2 * H, mask=real, other=0.0).to(tl.float32)
    return q, k, v


@triton.jit(do_not_specialize=["rows", "columns", "windows"])
def _ask_neighbours(
    qkv_p, bias_p, out_p, rows, columns, windows, scale,
    H: tl.constexpr, HEADS: tl.constexpr, D: tl.constexpr, MP: tl.constexpr, DP: tl.constexpr,
    G: tl.constexpr, W: tl.constexpr,
):  # fmt: skip
    window = tl.program_id(0) * W + tl.arange(0, W)
    backward = tl.program_id(1)
    q, k, v = _square(qkv_p, window, backward, rows, columns, windows, scale, H, D, MP, DP, G)
    # The mean over queries of what they attend to: (W, keys, MP).
    of_keys = tl.sum(shares(q, k, bias_p, HEADS, MP, G), 1) / G
    mixed = tl.expand_dims(tl.sum(of_keys[:, :, :, None] * v, 1), 1)
    channel, is_real = _channels(H, D, MP, DP)
    at = out_p + (window[:, None, None, None] * 2 + backward) * H + channel
    real = (window < windows)[:, None, None, None] & is_real
    tl.store(at, mixed.to(out_p.dtype.element_ty), mask=real)


@triton.jit(do_not_specialize=["rows", "columns", "windows"])
def _ask_gradient(
    qkv_p, bias_p, grad_p, to_tokens_p, to_bias_p, rows, columns, windows, scale,
    H: tl.constexpr, HEADS: tl.constexpr, D: tl.constexpr, MP: tl.constexpr, DP: tl.constexpr,
    G: tl.constexpr, W: tl.constexpr,
):  # fmt: skip
    """Gradients of queries, keys and values of each square: (windows, 2, g, 3 c).

    And this program's share of that of the biases: (queries, keys, MP).
    """
    window = tl.program_id(0) * W + tl.arange(0, W)
    backward = tl.program_id(1)
    q, k, v = _square(qkv_p, window, backward, rows, columns, windows, scale, H, D, MP, DP, G)
    of_pairs = shares(q, k, bias_p, HEADS, MP, G)
    channel, is_real = _channels(H, D, MP, DP)
    square = window[:, None, None, None] * 2 + backward
    real = (window < windows)[:, None, None, None] & is_real
    # Its mean over queries is divided here: (W, 1, MP, DP).
    grad = tl.load(grad_p + square * H + channel, mask=real, other=0.0).to(tl.float32) / G
    to_v = grad * tl.sum(of_pairs, 1)[:, :, :, None]
    to_keys = tl.expand_dims(tl.sum(grad * v, 3), 1)  # (W, 1, keys, MP)
    to_scores = of_pairs * (to_keys - tl.sum(of_pairs * to_keys, 2)[:, :, None, :])
    to_q = tl.sum(to_scores[:, :, :, :, None] * tl.expand_dims(k, 1), 2) * scale
    to_k = tl.sum(to_scores[:, :, :, :, None] * tl.expand_dims(q, 2), 1)
    token = tl.arange(0, G)[None, :, None, None]
    at = to_tokens_p + (square * G + token) * (3 * H) + channel
    tl.store(at, to_q, mask=real)
    tl.store(at + H, to_k, mask=real)
    tl.store(at + 2 * H, to_v, mask=real)
    pair = tl.arange(0, G)[:, None, None] * G + tl.arange(0, G)[None, :, None]
    of_program = (tl.program_id(0) * 2 + backward) * G * G + pair
    at_bias = to_bias_p + of_program * MP + tl.arange(0, MP)[None, None, :]
    tl.store(at_bias, tl.sum(to_scores, 0))


@triton.jit(do_not_specialize=["rows", "columns", "windows"])
def _collect(
    to_tokens_p, out_p, rows, columns, windows,
    C: tl.constexpr, CP: tl.constexpr, G: tl.constexpr, W: tl.constexpr,
):  # fmt: skip
    """Sum what squares say of each window. Those that have it are its own and its neighbours'."""
    window = tl.program_id(0) * W + tl.arange(0, W)
    row = (window // columns) % rows
    column = window % columns
    c = tl.arange(0, CP)
    total = tl.zeros((W, CP), tl.float32)
    for step in range(9):
        of_row, of_column = row + step // 3 - 1, column + step % 3 - 1
        there = (of_row >= 0) & (of_row < rows) & (of_column >= 0) & (of_column < columns)
        other = window + (of_row - row) * columns + of_column - column
        for token in tl.static_range(2 * G):
            found = token_of(of_row, of_column, token % G, token // G, rows, columns)
            has = there & (found == row * columns + column) & (window < windows)
            at = to_tokens_p + ((other * 2 + token // G) * G + token % G)[:, None] * C + c[None, :]
            total += tl.load(at, mask=has[:, None] & (c < C)[None, :], other=0.0)
    at_out = out_p + window[:, None] * C + c[None, :]
    stored = (window < windows)[:, None] & (c < C)[None, :]
    tl.store(at_out, total.to(out_p.dtype.element_ty), mask=stored)


def context_of(module: "NgramContext", unigrams: Tensor) -> Tensor:
    """`NgramContext.context_of`, differentiable: (b, rows, columns, c) -> (b, rows, columns, 2c).

    For squares of 2x2 windows and at most 64 channels of a unigram.
    """
    bias = table_bias(module.bias_table, module.grams, 1)
    mixed: Tensor = _Attended.apply(linear(module.qkv, unigrams), bias, module.heads)
    return module.merged(linear(module.proj, mixed).flatten(3))


class _Attended(torch.autograd.Function):
    """Attention of qkv (b, rows, columns, 3 c), before its projection: (b, rows, columns, 2, c)."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, bias: Tensor, heads: int) -> Tensor:
        qkv, bias = qkv.contiguous(), bias.contiguous()
        ctx.save_for_backward(qkv, bias)
        ctx.heads = heads
        grid, sizes, constants = _layout(qkv, heads)
        out = qkv.new_empty(*qkv.shape[:3], 2, constants["H"])
        launch(_ask_neighbours, grid, (qkv, bias, out), sizes, **constants)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        qkv, bias = ctx.saved_tensors
        grid, sizes, constants = _layout(qkv, ctx.heads)
        c, tokens, heads = qkv.shape[-1], constants["G"], constants["MP"]
        wide = {"dtype": torch.float32, "device": qkv.device}
        to_tokens = torch.empty(sizes[2], 2, tokens, c, **wide)
        to_bias = torch.empty(*grid, tokens, tokens, heads, **wide)
        tensors = (qkv, bias, grad.contiguous(), to_tokens, to_bias)
        launch(_ask_gradient, grid, tensors, sizes, **constants)
        to_qkv = torch.empty_like(qkv)
        launch(
            _collect,
            grid[:1],
            (to_tokens, to_qkv),
            sizes[:3],
            C=c,
            CP=triton.next_power_of_2(c),
            G=tokens,
            W=_WINDOWS,
        )
        to_bias = to_bias.sum((0, 1))[..., : ctx.heads].permute(2, 0, 1)
        return to_qkv, to_bias.to(bias.dtype), None


def _layout(
    qkv: Tensor, heads: int
) -> tuple[tuple[int, int], tuple[int, int, int, float], dict[str, int]]:
    """Grid, numbers and constants of the kernels of attention."""
    b, rows, columns, c = qkv.shape
    windows, width = b * rows * columns, c // 3
    d = width // heads
    constants = {
        "H": width,
        "HEADS": heads,
        "D": d,
        "MP": triton.next_power_of_2(heads),
        "DP": triton.next_power_of_2(d),
        "G": 4,
        "W": _WINDOWS,
    }
    return (triton.cdiv(windows, _WINDOWS), 2), (rows, columns, windows, d**-0.5), constants
