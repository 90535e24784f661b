"""N-gram context in two launches: windows are embedded, then each asks its neighbours.

Only the embedding has a gradient; `neighbours` is for training. Products are of float32 values
whatever the types of tensors, because HiT's queries and values go beyond float16.

Shapes: b batch, h height, w width, c channels; rows and columns are of windows; n side of the
square of windows that attend to each other, m heads. A large window is embedded by several
programs, each of which sums a part of its pixels.
"""

from typing import TYPE_CHECKING, Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hitsr.models.fused.cuda.kernels.common import channels, normed
from hitsr.models.fused.cuda.kernels.launch import DTYPES, fits, launch, product_of
from hitsr.models.fused.cuda.kernels.neighbours import shares, token_of

if TYPE_CHECKING:
    from hitsr.models.ngram import NgramContext

MOST_CHANNELS = 64
WINDOWS = range(4, 65)
GRAMS = 2
_PIXELS = 64  # of a window, at once
_PROGRAMS = 1024  # that share the windows of a picture
_SUMMING = 256  # programs that sum gradients of filters, each over its share of the windows
_ASKING = 8  # windows of one program, and half as many if each has several sums


@triton.jit
def _filters(
    weight_p, pixel,
    C: tl.constexpr, CP: tl.constexpr, SIDE: tl.constexpr, SHARED: tl.constexpr,
):  # fmt: skip
    """Factors of pixels' channels in the embedding of their window: (pixels, CP) float32."""
    T: tl.constexpr = SIDE * SIDE
    c = tl.arange(0, CP)
    of = c % 2 if SHARED else c
    real = (pixel < T)[:, None] & (c < C)[None, :]
    at = of[None, :] * T + pixel[:, None]
    return tl.load(weight_p + at, mask=real, other=0.0).to(tl.float32)


@triton.jit
def _places(window, pixel, columns, SIDE: tl.constexpr):
    """Where pixels of a window lie among all pixels: pictures lie one below the other."""
    row = window // columns * SIDE + pixel // SIDE
    return row * columns * SIDE + window % columns * SIDE + pixel % SIDE


@triton.jit(do_not_specialize=["columns", "windows"])
def _embed(
    x_p, norm_weight_p, norm_bias_p, weight_p, bias_p, out_p, columns, windows, eps,
    C: tl.constexpr, CP: tl.constexpr, SIDE: tl.constexpr, P: tl.constexpr, CHUNKS: tl.constexpr,
    PARTS: tl.constexpr, NORM: tl.constexpr, SHARED: tl.constexpr,
):  # fmt: skip
    part = tl.program_id(1)
    c = tl.arange(0, CP)
    pair = tl.arange(0, CP // 2)
    norm_weight, norm_bias = channels(norm_weight_p, C, CP), channels(norm_bias_p, C, CP)
    to_bias = bias_p + (0 * pair if SHARED else pair)
    bias = tl.load(to_bias, mask=(pair < C // 2) & (part == 0), other=0.0).to(tl.float32)
    if CHUNKS == 1:
        pixel = part * P + tl.arange(0, P)
        filters = _filters(weight_p, pixel, C, CP, SIDE, SHARED)
    for window in range(tl.program_id(0), windows, tl.num_programs(0)):
        sums = tl.zeros((P, CP), tl.float32)
        for chunk in range(CHUNKS):
            if CHUNKS > 1:
                pixel = (part * CHUNKS + chunk) * P + tl.arange(0, P)
                filters = _filters(weight_p, pixel, C, CP, SIDE, SHARED)
            at = _places(window, pixel, columns, SIDE)[:, None] * C + c[None, :]
            real = (pixel < SIDE * SIDE)[:, None] & (c < C)[None, :]
            x = tl.load(x_p + at, mask=real, other=0.0).to(tl.float32)
            if NORM:
                x = normed(x, c < C, norm_weight, norm_bias, eps, C)
            sums += x * filters
        embedded = bias + tl.sum(tl.reshape(tl.sum(sums, 0), (CP // 2, 2)), 1)
        out = out_p + (window * PARTS + part) * (C // 2) + pair
        tl.store(out, embedded.to(out_p.dtype.element_ty), mask=pair < C // 2)


@triton.jit(do_not_specialize=["columns", "windows"])
def _embed_gradient(
    x_p, weight_p, grad_p, to_x_p, to_filters_p, columns, windows,
    C: tl.constexpr, CP: tl.constexpr, SIDE: tl.constexpr, P: tl.constexpr, SHARED: tl.constexpr,
):  # fmt: skip
    """The gradient of x, and this program's share of that of the filters: (pixels, C)."""
    c = tl.arange(0, CP)
    pixel = tl.program_id(1) * P + tl.arange(0, P)
    real = (pixel < SIDE * SIDE)[:, None] & (c < C)[None, :]
    filters = _filters(weight_p, pixel, C, CP, SIDE, SHARED)
    to_filters = tl.zeros((P, CP), tl.float32)
    for window in range(tl.program_id(0), windows, tl.num_programs(0)):
        grad = tl.load(grad_p + window * (C // 2) + c // 2, mask=c < C, other=0.0).to(tl.float32)
        at = _places(window, pixel, columns, SIDE)[:, None] * C + c[None, :]
        x = tl.load(x_p + at, mask=real, other=0.0).to(tl.float32)
        to_filters += x * grad[None, :]
        to_x = filters * grad[None, :]
        tl.store(to_x_p + at, to_x.to(to_x_p.dtype.element_ty), mask=real)
    to = to_filters_p + (tl.program_id(0) * SIDE * SIDE + pixel)[:, None] * C + c[None, :]
    tl.store(to, to_filters, mask=real)


@triton.jit
def _by_head(
    weight_p, bias_p, x, part,
    H: tl.constexpr, HP: tl.constexpr, HEADS: tl.constexpr, D: tl.constexpr,
    MP: tl.constexpr, DP: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """Queries (part 0), keys (1) or values (2) of x (tokens, HP), heads padded: (tokens, MP DP)."""
    i = tl.arange(0, HP)
    o = tl.arange(0, MP * DP)
    real = (o // DP < HEADS) & (o % DP < D)
    row = part * H + o // DP * D + o % DP
    mask = (i < H)[:, None] & real[None, :]
    weight = tl.load(weight_p + row[None, :] * H + i[:, None], mask=mask, other=0.0)
    bias = tl.load(bias_p + row, mask=real, other=0.0).to(tl.float32)
    return tl.dot(x, weight.to(tl.float32), input_precision=PREC) + bias[None, :]


@triton.jit(do_not_specialize=["rows", "columns", "windows"])
def _ask(
    unigrams_p, qkv_weight_p, qkv_bias_p, proj_weight_p, proj_bias_p, bias_p, merge_weight_p,
    merge_bias_p, out_p, rows, columns, windows, scale,
    C: tl.constexpr, CP: tl.constexpr, HP: tl.constexpr, HEADS: tl.constexpr, D: tl.constexpr,
    MP: tl.constexpr, DP: tl.constexpr, PARTS: tl.constexpr, W: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    H: tl.constexpr = C // 2
    G: tl.constexpr = 4
    c = tl.arange(0, CP)
    i = tl.arange(0, HP)
    o = tl.arange(0, MP * DP)
    # Each window has G tokens: itself and its neighbours, row by row.
    token = tl.arange(0, W * G)
    window = tl.program_id(0) * W + token // G
    row = (window // columns) % rows
    column = window % columns
    first = window - row * columns - column  # of the picture
    merged = tl.zeros((W * G, CP), tl.float32)
    of_head = (o // DP < HEADS) & (o % DP < D)
    place_of_head = o // DP * D + o % DP
    for backward in range(2):
        place = first + token_of(row, column, token % G, backward, rows, columns)
        x = tl.zeros((W * G, HP), tl.float32)
        for part in tl.static_range(PARTS):
            at = (place * PARTS + part)[:, None] * H + i[None, :]
            real = (window < windows)[:, None] & (i < H)[None, :]
            x += tl.load(unigrams_p + at, mask=real, other=0.0).to(tl.float32)
        q = _by_head(qkv_weight_p, qkv_bias_p, x, 0, H, HP, HEADS, D, MP, DP, PREC) * scale
        k = _by_head(qkv_weight_p, qkv_bias_p, x, 1, H, HP, HEADS, D, MP, DP, PREC)
        v = _by_head(qkv_weight_p, qkv_bias_p, x, 2, H, HP, HEADS, D, MP, DP, PREC)
        q, k = tl.reshape(q, (W, G, MP, DP)), tl.reshape(k, (W, G, MP, DP))
        # The mean over queries of what they attend to: its terms, summed at the end.
        of_keys = tl.sum(shares(q, k, bias_p, HEADS, MP, G), 1) / G
        mixed = of_keys[:, :, :, None] * tl.reshape(v, (W, G, MP, DP))
        mixed = tl.reshape(mixed, (W * G, MP * DP))
        to_proj = proj_weight_p + i[None, :] * H + place_of_head[:, None]
        proj = tl.load(to_proj, mask=of_head[:, None] & (i < H)[None, :], other=0.0)
        average = tl.dot(mixed, proj.to(tl.float32), input_precision=PREC)
        average += channels(proj_bias_p, H, HP)[None, :] / G
        to_merge = merge_weight_p + c[None, :] * C + backward * H + i[:, None]
        merge = tl.load(to_merge, mask=(i < H)[:, None] & (c < C)[None, :], other=0.0)
        merged = tl.dot(average, merge.to(tl.float32), merged, input_precision=PREC)
    context = tl.sum(tl.reshape(merged, (W, G, CP)), 1) + channels(merge_bias_p, C, CP)[None, :]
    own = tl.program_id(0) * W + tl.arange(0, W)
    out = out_p + own[:, None] * C + c[None, :]
    stored = (own < windows)[:, None] & (c < C)[None, :]
    tl.store(out, context.to(out_p.dtype.element_ty), mask=stored)


def why_not_context(x_bhwc: Tensor, window: int, grams: int) -> str | None:
    """Why `context_of` cannot take features or n-grams of such a size; None if it can."""
    c = x_bhwc.shape[-1]
    if c > MOST_CHANNELS or c % 2:
        return f"{c} channels, not an even number up to {MOST_CHANNELS}"
    if window not in WINDOWS:
        return f"windows of {window}, not {WINDOWS[0]} to {WINDOWS[-1]}"
    if grams != GRAMS:
        return f"squares of {grams}x{grams} windows, not {GRAMS}x{GRAMS}"
    if not fits(x_bhwc.numel()):
        return "more than 2^31 - 1 features"
    return None


def context_of(
    module: "NgramContext",
    x_bhwc: Tensor,
    bias: Tensor,
    norm: nn.LayerNorm | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """What `NgramContext` adds to each window of `norm` of x: (b, rows, columns, c) in `dtype`.

    x: (b, h, w, c), h and w multiples of the module's window. `bias` (m, 4, 4) is the module's
    table laid out (`position.table_bias`). `dtype` is by default x's. `why_not_context` says what
    is too large.
    """
    layers = (module.qkv, module.proj, bias, module.merge)
    sums = _sums(x_bhwc, module.embed, module.window, norm, torch.float32)
    return _context(sums, *layers, module.heads, module.grams, dtype or x_bhwc.dtype)


def unigrams(
    x_bhwc: Tensor,
    embed: nn.Conv2d,
    *,
    window: int,
    norm: nn.LayerNorm | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """The embedding of each window of `norm` of x: (b, h, w, c) -> (b, rows, columns, c / 2).

    As `NgramContext` does it, with one filter for each pair of channels or one for all. h and w are
    multiples of `window`. Sums are in float32, the result in `dtype`, by default x's.
    Differentiable, but not through `norm`.
    """
    dtype = dtype or x_bhwc.dtype
    wanted = x_bhwc.requires_grad or embed.weight.requires_grad
    if torch.is_grad_enabled() and wanted:
        assert norm is None, "no gradient goes through norms"
        out: Tensor = _Unigrams.apply(x_bhwc, embed.weight, embed.bias, embed, window, dtype)
        return out
    return _unigrams(x_bhwc, embed, window, norm, dtype)


def context(
    unigrams: Tensor,
    qkv: nn.Linear,
    proj: nn.Linear,
    bias: Tensor,
    merge: nn.Conv2d,
    *,
    heads: int,
    grams: int,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """`NgramContext.context_of`: (b, rows, columns, c / 2) -> (b, rows, columns, c).

    `bias` (m, 4, 4). The result is in `dtype`, by default that of the unigrams.
    """
    dtype = dtype or unigrams.dtype
    return _context(unigrams[:, :, :, None], qkv, proj, bias, merge, heads, grams, dtype)


class _Unigrams(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,  # noqa: ARG004
        embed: nn.Conv2d,
        window: int,
        dtype: torch.dtype,
    ) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x, weight)
        ctx.window = window
        return _unigrams(x, embed, window, None, dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (x, weight), side = ctx.saved_tensors, ctx.window
        c, shared, grad = x.shape[-1], weight.shape[0] == 1, grad.contiguous()
        columns, windows = grad.shape[2], grad.shape[:3].numel()
        pixels, constants = _layout(x, weight, side)
        blocks = triton.cdiv(side**2, pixels)
        programs = min(windows, triton.cdiv(_SUMMING, blocks))
        to_x = torch.empty_like(x)
        parts = torch.empty(programs, side**2, c, dtype=torch.float32, device=x.device)
        launch(
            _embed_gradient,
            (programs, blocks),
            (x, weight, grad, to_x, parts),
            (columns, windows),
            warps=max(1, pixels // 16),
            **constants,
        )
        to_filters, to_bias = parts.sum(0), grad.flatten(0, 2).sum(0, dtype=torch.float32)
        if shared:
            to_filters = to_filters.unflatten(1, (-1, 2)).sum(1)
            to_bias = to_bias.sum(0, keepdim=True)
        to_weight = to_filters.t().reshape(weight.shape).to(weight.dtype)
        return to_x, to_weight, to_bias.to(weight.dtype), None, None, None


def _unigrams(
    x_bhwc: Tensor, embed: nn.Conv2d, window: int, norm: nn.LayerNorm | None, dtype: torch.dtype
) -> Tensor:
    parts = _parts(window)
    sums = _sums(x_bhwc, embed, window, norm, dtype if parts == 1 else torch.float32)
    return sums[:, :, :, 0] if parts == 1 else sums.sum(3).to(dtype)


def _layout(x_bhwc: Tensor, weight: Tensor, window: int) -> tuple[int, dict[str, Any]]:
    """Pixels of a window at once, and constants of the kernels that embed it."""
    c = x_bhwc.shape[-1]
    pixels = min(_PIXELS, triton.next_power_of_2(window**2))
    columns = max(16, triton.next_power_of_2(c))
    shared = weight.shape[0] == 1
    return pixels, {"C": c, "CP": columns, "SIDE": window, "P": pixels, "SHARED": shared}


def _parts(window: int) -> int:
    """How many programs embed one window."""
    return 1 if window <= 16 else 8


def _sums(
    x_bhwc: Tensor,
    embed: nn.Conv2d,
    window: int,
    norm: nn.LayerNorm | None,
    dtype: torch.dtype,
) -> Tensor:
    """Sums over parts of each window: (b, rows, columns, parts, c / 2) in `dtype`."""
    b, h, w, c = x_bhwc.shape
    assert x_bhwc.dtype in DTYPES, x_bhwc.dtype
    assert h % window == w % window == 0, (h, w, window)
    assert why_not_context(x_bhwc, window, GRAMS) is None
    rows, columns, parts = h // window, w // window, _parts(window)
    windows, x = b * rows * columns, x_bhwc.contiguous()
    pixels, constants = _layout(x, embed.weight, window)
    out = torch.empty(b, rows, columns, parts, c // 2, dtype=dtype, device=x.device)
    normed_by = (None, None) if norm is None else (norm.weight, norm.bias)
    launch(
        _embed,
        (min(windows, _PROGRAMS), parts),
        (x, *normed_by, embed.weight, embed.bias, out),
        (columns, windows, 0.0 if norm is None else norm.eps),
        warps=max(1, pixels // 16),
        **constants,
        CHUNKS=triton.cdiv(window**2, pixels * parts),
        PARTS=parts,
        NORM=norm is not None,
    )
    return out


def _context(
    sums: Tensor,
    qkv: nn.Linear,
    proj: nn.Linear,
    bias: Tensor,
    merge: nn.Conv2d,
    heads: int,
    grams: int,
    dtype: torch.dtype,
) -> Tensor:
    b, rows, columns, parts, half = sums.shape
    assert grams == GRAMS, grams
    assert bias.shape == (heads, grams**2, grams**2), bias.shape
    c, d, windows = 2 * half, half // heads, b * rows * columns
    columns_of_head = triton.next_power_of_2(d)
    out = torch.empty(b, rows, columns, c, dtype=dtype, device=sums.device)
    in_full = dtype == qkv.weight.dtype == torch.float32
    asking = _ASKING if parts == 1 else _ASKING // 2
    launch(
        _ask,
        (triton.cdiv(windows, asking),),
        (
            sums.contiguous(),
            *(qkv.weight, qkv.bias, proj.weight, proj.bias),
            bias.contiguous(),
            *(merge.weight, merge.bias, out),
        ),
        (rows, columns, windows, d**-0.5),
        stages=1,
        C=c,
        CP=max(16, triton.next_power_of_2(c)),
        HP=max(16, triton.next_power_of_2(half)),
        HEADS=heads,
        D=d,
        MP=max(triton.next_power_of_2(heads), 16 // columns_of_head),
        DP=columns_of_head,
        PARTS=parts,
        W=asking,
        PREC=product_of(dtype) if in_full else "tf32",
    )
    return out
