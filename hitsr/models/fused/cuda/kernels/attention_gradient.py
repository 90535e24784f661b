"""The gradient of attention in windows: kernels that compute its scores anew.

The attention keeps its result and, for each query, the sum of its exponentials. Where all cells of
a window fit one block, one launch computes everything. Else three do: of keys and values, of
queries, of biases. Each program sums the biases' gradient over its share of windows.

Shapes: b batch, h height, w width, c channels, m heads, s cells of a window.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from hitsr.models.fused.cuda.kernels.common import LOG2E
from hitsr.models.fused.cuda.kernels.launch import launch
from hitsr.models.fused.cuda.kernels.window import keys, padded, pixels, scores, share

_PROGRAMS = 1024  # that share windows, at least, if there are enough windows


@triton.jit
def _at_queries(
    qkv_p, grad_p, out_p, log_p, n, group, query, head, height, width, shift, all_pixels,
    C: tl.constexpr, D: tl.constexpr, DP: tl.constexpr, SIDE: tl.constexpr, FOLD: tl.constexpr,
):  # fmt: skip
    """What the gradient needs of queries: their places in qkv and regions, themselves, the gradient
    of what they mixed, its product with that, and their sums of exponentials."""
    d = tl.arange(0, DP)
    pixel, region = pixels(n, query, group // FOLD, group % FOLD, height, width, shift, SIDE, FOLD)
    inside = query < SIDE * SIDE
    real = inside[:, None] & (d < D)[None, :]
    places = pixel[:, None] * (C + 2 * (C // (FOLD * FOLD))) + (head * D + d)[None, :]
    q = tl.load(qkv_p + places, mask=real, other=0.0)
    at = pixel[:, None] * C + (head * D + d)[None, :]
    grad = tl.load(grad_p + at, mask=real, other=0.0)
    out = tl.load(out_p + at, mask=real, other=0.0)
    along = tl.sum(grad.to(tl.float32) * out.to(tl.float32), 1)
    log = tl.load(log_p + head * all_pixels + pixel, mask=inside, other=0.0)
    return places, region, q, grad.to(q.dtype), along, log


@triton.jit
def _to_scores(s, a, b, along, log, PREC: tl.constexpr):
    """Weights of values, and the gradient of scores s.

    a, b: what the gradient is of queries, and values, or in the other order for transposed scores.
    """
    p = tl.exp2(s * LOG2E - log)
    return p, p * (tl.dot(a, tl.trans(b), input_precision=PREC) - along)


@triton.jit(do_not_specialize=["height", "width", "shift", "all_pixels", "windows", "each"])
def _to_keys(
    qkv_p, bias_p, grad_p, out_p, log_p, to_qkv_p, to_bias_p,
    height, width, shift, all_pixels, windows, each, scale,
    C: tl.constexpr, HEADS: tl.constexpr, D: tl.constexpr, DP: tl.constexpr, SIDE: tl.constexpr,
    FOLD: tl.constexpr, Q: tl.constexpr, K: tl.constexpr, STEPS: tl.constexpr,
    BIASED: tl.constexpr, SHIFTED: tl.constexpr, TO_KEYS: tl.constexpr, TO_QUERIES: tl.constexpr,
    TO_BIAS: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """Gradients of a block of keys and values in `each` windows, from STEPS groups and blocks of
    queries; with TO_QUERIES, which needs all keys in one block, of queries too."""
    TOKENS: tl.constexpr = SIDE * SIDE
    NARROW: tl.constexpr = C // (FOLD * FOLD)
    GROUPS: tl.constexpr = FOLD * FOLD
    BLOCKS: tl.constexpr = (TOKENS + K - 1) // K
    PARTS: tl.constexpr = GROUPS * ((TOKENS + Q - 1) // Q) // STEPS
    program = tl.program_id(0)
    head = program % HEADS
    part = program // HEADS % PARTS
    block = program // (HEADS * PARTS) % BLOCKS
    chunk = program // (HEADS * PARTS * BLOCKS)
    key = block * K + tl.arange(0, K)
    d = tl.arange(0, DP)
    real = (key < TOKENS)[:, None] & (d < D)[None, :]
    if TO_BIAS:
        to_bias = tl.zeros((K, Q), tl.float32)
    for n in range(chunk * each, tl.minimum(chunk * each + each, windows)):
        at, key_region = keys(n, key, head, height, width, shift, C, D, DP, SIDE, FOLD)
        k = tl.load(qkv_p + at, mask=real, other=0.0)
        v = tl.load(qkv_p + at + NARROW, mask=real, other=0.0)
        if TO_KEYS:
            to_k = tl.zeros((K, DP), tl.float32)
            to_v = tl.zeros((K, DP), tl.float32)
        for step in range(part * STEPS, part * STEPS + STEPS):
            query = step // GROUPS * Q + tl.arange(0, Q)
            places, region, q, grad, along, log = _at_queries(
                qkv_p, grad_p, out_p, log_p, n, step % GROUPS, query, head,
                height, width, shift, all_pixels, C, D, DP, SIDE, FOLD,
            )  # fmt: skip
            s = scores(
                k, q, bias_p, head, query[None, :], key[:, None], region[None, :],
                key_region[:, None], scale, TOKENS, K, BIASED, SHIFTED, PREC,
            )  # fmt: skip
            p, to_s = _to_scores(s, v, grad, along[None, :], log[None, :], PREC)
            if TO_BIAS:
                to_bias += to_s
            to_s = to_s.to(q.dtype)
            if TO_KEYS:
                to_v = tl.dot(p.to(q.dtype), grad, to_v, input_precision=PREC)
                to_k = tl.dot(to_s, q, to_k, input_precision=PREC)
            if TO_QUERIES:
                to_q = tl.dot(tl.trans(to_s), k, input_precision=PREC) * scale
                inside = (query < TOKENS)[:, None] & (d < D)[None, :]
                tl.store(to_qkv_p + places, to_q.to(q.dtype), mask=inside)
        if TO_KEYS:
            tl.store(to_qkv_p + at, (to_k * scale).to(k.dtype), mask=real)
            tl.store(to_qkv_p + at + NARROW, to_v.to(k.dtype), mask=real)
    if TO_BIAS:
        query = part * STEPS // GROUPS * Q + tl.arange(0, Q)
        at = ((chunk * HEADS + head) * TOKENS + query[None, :]) * TOKENS + key[:, None]
        inside = (query < TOKENS)[None, :] & (key < TOKENS)[:, None]
        tl.store(to_bias_p + at, to_bias, mask=inside)


@triton.jit(do_not_specialize=["height", "width", "shift", "all_pixels"])
def _to_queries(
    qkv_p, bias_p, grad_p, out_p, log_p, to_qkv_p, height, width, shift, all_pixels, scale,
    C: tl.constexpr, HEADS: tl.constexpr, D: tl.constexpr, DP: tl.constexpr, SIDE: tl.constexpr,
    FOLD: tl.constexpr, Q: tl.constexpr, K: tl.constexpr,
    BIASED: tl.constexpr, SHIFTED: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """The gradient of a block of queries, going over all keys of their window."""
    TOKENS: tl.constexpr = SIDE * SIDE
    NARROW: tl.constexpr = C // (FOLD * FOLD)
    n, group, block, head = share(FOLD * FOLD, (TOKENS + Q - 1) // Q, HEADS)
    query = block * Q + tl.arange(0, Q)
    d = tl.arange(0, DP)
    places, region, q, grad, along, log = _at_queries(
        qkv_p, grad_p, out_p, log_p, n, group, query, head,
        height, width, shift, all_pixels, C, D, DP, SIDE, FOLD,
    )  # fmt: skip
    to_q = tl.zeros((Q, DP), tl.float32)
    for start in range(0, TOKENS, K):
        key = start + tl.arange(0, K)
        at, key_region = keys(n, key, head, height, width, shift, C, D, DP, SIDE, FOLD)
        real = (key < TOKENS)[:, None] & (d < D)[None, :]
        k = tl.load(qkv_p + at, mask=real, other=0.0)
        v = tl.load(qkv_p + at + NARROW, mask=real, other=0.0)
        s = scores(
            q, k, bias_p, head, query[:, None], key[None, :], region[:, None], key_region[None, :],
            scale, TOKENS, K, BIASED, SHIFTED, PREC,
        )  # fmt: skip
        _p, to_s = _to_scores(s, grad, v, along[:, None], log[:, None], PREC)
        to_q = tl.dot(to_s.to(k.dtype), k, to_q, input_precision=PREC)
    real = (query < TOKENS)[:, None] & (d < D)[None, :]
    tl.store(to_qkv_p + places, (to_q * scale).to(q.dtype), mask=real)


def gradients(
    qkv: Tensor,
    bias: Tensor | None,
    out: Tensor,
    log: Tensor,
    grad: Tensor,
    constants: dict[str, Any],
    shift: int,
    wanted: tuple[bool, bool],
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of qkv and bias, those that are `wanted`, from that of attention's result `out`.

    All contiguous. log: sums of exponentials, as log2, (m, b h w) float32; `constants` are those of
    `window.layout`.
    """
    _, h, w, _ = qkv.shape
    pixels, heads, scale = log.shape[1], constants["HEADS"], constants["D"] ** -0.5
    groups, cells = constants["FOLD"] ** 2, constants["SIDE"] ** 2
    q, k = _tile(cells, constants["DP"], qkv.dtype)
    windows, blocks, steps = pixels // (groups * cells), -(-cells // k), groups * -(-cells // q)
    tile = {"Q": q, "K": k, "warps": min(4, q * constants["DP"] // 128), "stages": 1}
    to_qkv = torch.empty_like(qkv) if wanted[0] else None
    to_bias = None
    apart = [(True, False)] * wanted[0] + [(False, True)] * wanted[1]
    for keys_too, bias_too in [wanted] if cells <= min(q, k) else apart:
        own = groups if bias_too else steps
        shares = heads * blocks * (steps // own)
        each = -(-windows // min(windows, -(-_PROGRAMS // shares)))
        chunks = -(-windows // each)
        parts = log.new_empty(chunks, heads, cells, cells) if bias_too else None
        launch(
            _to_keys,
            (chunks * shares,),
            (qkv, bias, grad, out, log, to_qkv, parts),
            (h, w, shift, pixels, windows, each, scale),
            **constants,
            **tile,
            STEPS=own,
            TO_KEYS=keys_too,
            TO_QUERIES=keys_too and blocks == 1,
            TO_BIAS=bias_too,
        )
        if parts is not None and bias is not None:
            to_bias = parts.sum(0).to(bias.dtype)
    if to_qkv is not None and blocks > 1:
        launch(
            _to_queries,
            (windows * steps * heads,),
            (qkv, bias, grad, out, log, to_qkv),
            (h, w, shift, pixels, scale),
            **constants,
            **tile,
        )
    return to_qkv, to_bias


def _tile(cells: int, width: int, dtype: torch.dtype) -> tuple[int, int]:
    """Queries and keys that a program takes at a time, without spilling registers."""
    block = padded(cells)
    if dtype != torch.float32:
        return (block, block) if width == 16 else (max(16, block // 2), block)
    return min(block, 32 if width == 16 else 16), min(block, 64 if width == 16 else 32)
