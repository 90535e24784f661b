"""Convolutions of channels-last features as matrix products that gather their own pixels.

A program makes a tile of pixels: for each tap of the kernel it adds the product of the tile, moved
by that tap, with the tap's weights. Moved tiles overlap, so most pixels come from a cache.

Shapes: b batch, h height, w width, c channels in, o channels out.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor, nn
from torch.nn import functional as F

from hitsr.models.fused.cuda.kernels.common import TYPES, channels
from hitsr.models.fused.cuda.kernels.launch import fits, launch, product_of

MOST_CHANNELS = 64
_SMALL = 2**14  # pixels: fewer are cut into more tiles, so that all of a GPU's multiprocessors work


@triton.jit(do_not_specialize=["h", "w", "down", "across"])
def _convolve(
    x_p, weight_p, bias_p, residual_p, y_p, h, w, down, across,
    C: tl.constexpr, OUT: tl.constexpr, CP: tl.constexpr, OUTP: tl.constexpr, SIDE: tl.constexpr,
    TILE_H: tl.constexpr, TILE_W: tl.constexpr, K: tl.constexpr, BIAS: tl.constexpr,
    RESIDUAL: tl.constexpr, DT: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    tile = tl.program_id(0)
    p = tl.arange(0, TILE_H * TILE_W)
    picture = tile // (down * across)
    y = tile // across % down * TILE_H + p // TILE_W
    x = tile % across * TILE_W + p % TILE_W
    k = tl.arange(0, K)
    o = tl.arange(0, OUTP)
    out = tl.zeros((TILE_H * TILE_W, OUTP), tl.float32)
    for step in tl.range(0, SIDE * SIDE * CP // K):
        tap = step // (CP // K)
        c = step % (CP // K) * K + k
        tap_y = y + tap // SIDE - SIDE // 2
        tap_x = x + tap % SIDE - SIDE // 2
        inside = (tap_y >= 0) & (tap_y < h) & (tap_x >= 0) & (tap_x < w)
        at = ((picture * h + tap_y) * w + tap_x)[:, None] * C + c[None, :]
        pixels = tl.load(x_p + at, mask=inside[:, None] & (c < C)[None, :], other=0.0)
        weight = tl.load(weight_p + (step * K + k)[:, None] * OUTP + o[None, :])
        out = tl.dot(pixels.to(DT), weight, out, input_precision=PREC)
    if BIAS:
        out += channels(bias_p, OUT, OUTP)[None, :]
    real = ((y < h) & (x < w))[:, None] & (o < OUT)[None, :]
    at = ((picture * h + y) * w + x)[:, None] * OUT + o[None, :]
    if RESIDUAL:
        out += tl.load(residual_p + at, mask=real, other=0.0).to(tl.float32)
    tl.store(y_p + at, out.to(y_p.dtype.element_ty), mask=real)


def why_not(x_bhwc: Tensor, conv: nn.Conv2d) -> str | None:
    """Why `convolve` cannot take a convolution of these features; None if it can."""
    side = conv.kernel_size[0]
    plain = (conv.stride, conv.dilation, conv.groups, conv.padding_mode)
    if side not in (1, 3) or conv.kernel_size != (side, side):
        return "a kernel of {}x{}, not of 1x1 or 3x3".format(*conv.kernel_size)
    if plain != ((1, 1), (1, 1), 1, "zeros") or conv.padding not in ((side // 2,) * 2, "same"):
        return "strides, dilation, groups, or a padding that changes the size"
    if (widest := max(conv.in_channels, conv.out_channels)) > MOST_CHANNELS:
        return f"{widest} channels, more than {MOST_CHANNELS}"
    if not fits(x_bhwc[..., 0].numel() * widest):
        return "more elements than 32 bits count"
    inputs = (x_bhwc, *conv.parameters())
    if torch.is_grad_enabled() and any(each.requires_grad for each in inputs):
        return "gradients are wanted"
    return None


def laid_out(conv: nn.Conv2d, dtype: torch.dtype) -> Tensor:
    """The weight as `convolve` reads it, in the type of its products: (taps, c', o').

    Channels are padded with zeros to powers of two, at least 16. In (o, c, 3, 3) the weights of one
    tap lie nine elements apart, so that each would be read with eight others, by every program.
    """
    o, c, side, _ = conv.weight.shape
    taps = conv.weight.detach().permute(2, 3, 1, 0).reshape(side**2, c, o)
    padded = F.pad(taps, (0, _columns(o) - o, 0, _columns(c) - c))
    return padded.to(dtype).contiguous()


def convolve(
    x_bhwc: Tensor,
    conv: nn.Conv2d,
    *,
    weight: Tensor | None = None,
    residual: Tensor | None = None,
    dtype: torch.dtype | None = None,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """`conv` of channels-last features, plus `residual`: (b, h, w, c) -> (b, h, w, o).

    For what `why_not` gives no reason against. Products are computed in `dtype` (default: that of
    x), sums in float32, and the result has `out_dtype` (default: that of x). `weight` is
    `laid_out(conv, dtype)`, which is made anew if it is not given. x, bias and residual (b, h, w,
    o) may have any of the types of `launch.DTYPES`, each its own. Not differentiable.
    """
    dtype = dtype or x_bhwc.dtype
    weight = laid_out(conv, dtype) if weight is None else weight
    assert weight.dtype == dtype, (weight.dtype, dtype)
    x = x_bhwc.detach().contiguous()
    b, h, w, c = x.shape
    o, side = conv.out_channels, conv.kernel_size[0]
    y = torch.empty(b, h, w, o, dtype=out_dtype or x.dtype, device=x.device)
    tile_h, tile_w, warps, factors = _tile(b * h * w, dtype)
    down, across = triton.cdiv(h, tile_h), triton.cdiv(w, tile_w)
    launch(
        _convolve,
        (b * down * across,),
        (x, weight, conv.bias, None if residual is None else residual.contiguous(), y),
        (h, w, down, across),
        warps=warps,
        stages=3,
        C=c,
        OUT=o,
        CP=_columns(c),
        OUTP=_columns(o),
        SIDE=side,
        TILE_H=tile_h,
        TILE_W=tile_w,
        K=min(_columns(c), factors),
        BIAS=conv.bias is not None,
        RESIDUAL=residual is not None,
        DT=TYPES[dtype],
        PREC=product_of(dtype),
    )
    return y


def _tile(pixels: int, dtype: torch.dtype) -> tuple[int, int, int, int]:
    """Height and width of a tile, warps, and channels of one product: no more fit in registers."""
    if pixels <= _SMALL:
        return 4, 8, 4, 32
    return 8, 16, 8, 16 if dtype == torch.float32 else 64


def _columns(c: int) -> int:
    return max(16, int(triton.next_power_of_2(c)))
