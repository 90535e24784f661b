"""Window attention and correlation as functions, for networks of your own.

On a CUDA device they are Triton kernels where `cuda.choice` says so, else PyTorch's operators; on a
CPU attention goes tile by tile. Both are differentiable once, and give the same whatever computes
them, but for rounding: in float32 to about 1e-6 of the largest value, with 16-bit features as
products of such types do. docs/your-network.md has an example.

Shapes: b batch, h height, w width, c channels, m heads, t tokens of a window, r ratio.
"""

import math
from functools import partial

from torch import Tensor
from torch.nn import functional as F

from hitsr.base.errors import SpecError
from hitsr.models.fused import correlation as fused
from hitsr.models.fused.backend import backend_of
from hitsr.models.fused.cpu.tiles import Grid, attend_in_tiles
from hitsr.models.fused.cuda.choice import best
from hitsr.models.fused.cuda.correlation import correlated
from hitsr.models.windows import cells, in_heads, merge, roll, shift_mask, split
from hitsr.runtime.trials import Way


def window_attention(
    qkv_bhwc: Tensor,
    bias: Tensor | None = None,
    *,
    heads: int,
    window: int,
    shift: int = 0,
    fold: int = 1,
) -> Tensor:
    """Softmax attention in windows, not yet projected: (b, h, w, c + 2c / fold²) -> (b, h, w, c).

    `qkv_bhwc` holds queries (c channels), keys and values (c / fold² each), in this order; each
    head has the next c / heads of them. h and w are multiples of `window`, in pixels. `shift` moves
    windows down and to the right, cyclically; tokens from opposite edges of the picture do not
    attend to each other. With `fold`, the fold x fold tokens of a cell are one key of c channels,
    as in SRFormer's permuted attention. Scores are divided by the root of c / heads. `bias` is
    added to the scores of each cell towards each cell of a window, row by row: (m, s, s) with s =
    (window / fold)²; without `fold`, cells are tokens.

    Any device; float32, float64 (not by kernels), float16 and bfloat16. Kernels take windows of up
    to 16x16 cells and heads of up to 64 channels. Raises SpecError for shapes that do not fit.
    """
    _check_attention(qkv_bhwc, bias, heads, window, shift, fold)
    plain = partial(_attention, heads=heads, window=window, shift=shift, fold=fold)
    inputs = (qkv_bhwc,) if bias is None else (qkv_bhwc, bias)
    if backend_of(qkv_bhwc) != "cuda":
        return plain(*inputs)

    def kernel() -> Way | None:
        from hitsr.models.fused.cuda.kernels import attention as kernels

        c = _queries(qkv_bhwc, fold)
        if kernels.why_not(qkv_bhwc[..., :c], heads=heads, window=window, fold=fold):
            return None
        sizes = {"heads": heads, "window": window, "shift": shift, "fold": fold}
        return lambda qkv, bias=None: kernels.window_attention(qkv, bias, **sizes)

    what = f"window_attention in windows of {window}"
    return best(what, kernel, plain, inputs)(*inputs)


def correlation(
    qv_bhwc: Tensor,
    to_base_weight: Tensor,
    to_base_bias: Tensor,
    bias: Tensor | None,
    proj_weight: Tensor,
    proj_bias: Tensor,
    *,
    heads: int,
    window: int,
) -> Tensor:
    """HiT-SR's spatial-channel correlation in windows, projected: (b, h, w, 2c) -> (b, h, w, o).

    `qv_bhwc` holds queries and values, c channels each; h and w are multiples of `window`, in
    pixels. The r x r pixels of a base cell become one by a weighted sum, `to_base_weight` (1, r²)
    and `to_base_bias` (1): s = (window / r)² base cells. Spatial correlation (equation 3 of the
    paper) is divided by c / heads; `bias` (m, t, s) is added to that of each token, row by row,
    towards each base cell. Channel correlation (equation 5) is divided by t. Both are concatenated
    and projected by `proj_weight` (o, 2c) and `proj_bias` (o). No softmax.

    Any device; float32, float64 (not by kernels) and bfloat16. float16 ends at 65504, which sums of
    products soon pass: pass float32 features then. Kernels take windows of 4 to 64 pixels with 4x4
    or 8x8 base cells, c up to 32 and o up to 64. Raises SpecError for shapes that do not fit.
    """
    _check_correlation(qv_bhwc, to_base_weight, bias, proj_weight, heads, window)
    to_base, proj = (to_base_weight, to_base_bias), (proj_weight, proj_bias)
    same_head = fused.same_head(qv_bhwc.shape[-1] // 2, heads).to(qv_bhwc)

    def plain(qv: Tensor) -> Tensor:
        _, h, w, _ = qv.shape
        mixed = fused.correlate(split(qv, window), to_base, bias, proj, same_head, heads=heads)
        return merge(mixed, window, h, w)

    if backend_of(qv_bhwc) != "cuda":
        return plain(qv_bhwc)
    given = [*to_base, *proj] + ([] if bias is None else [bias])
    return correlated(
        qv_bhwc, to_base, bias, proj, plain, heads=heads, window=window, parameters=given
    )


def _attention(
    qkv: Tensor, bias: Tensor | None = None, *, heads: int, window: int, shift: int, fold: int
) -> Tensor:
    """`window_attention` by PyTorch's operators."""
    b, h, w, _ = qkv.shape
    windows = split(roll(qkv, -shift), window)
    added = None if bias is None else _of_tokens(bias, window, fold)
    if backend_of(qkv) == "cpu":
        masks = None
        if shift:  # of windows at the right edge and at the bottom
            masks = shift_mask(2 * window, 2 * window, window, shift, fold, qkv.device)[1:3]
            masks = masks.to(qkv.dtype).transpose(1, 2).contiguous()
        keys_first = None if added is None else added.transpose(1, 2).contiguous()
        grid = Grid(b, h // window, w // window)
        qkv_cn = windows.flatten(0, 1).t().contiguous()
        mixed = attend_in_tiles(qkv_cn, keys_first, masks, grid, heads, fold).t()
        return roll(merge(mixed.unflatten(0, (-1, window**2)), window, h, w), shift)
    c = _queries(qkv, fold)
    q, k, v = windows.split((c, c // fold**2, c // fold**2), -1)
    q, k, v = in_heads(q, k, v, heads, window, fold)
    if shift:
        mask = shift_mask(h, w, window, shift, fold, qkv.device).to(q.dtype)
        mask = mask.repeat(b, 1, 1)[:, None]
        added = mask if added is None else added.to(q.dtype) + mask
    elif added is not None:
        added = added.to(q.dtype)[None]
    mixed = F.scaled_dot_product_attention(q, k, v, added)
    return roll(merge(mixed.transpose(1, 2).flatten(2), window, h, w), shift)


def _of_tokens(bias_mss: Tensor, window: int, fold: int) -> Tensor:
    """Biases of cells as those of their tokens: (m, s, s) -> (m, t, s)."""
    if fold == 1:
        return bias_mss
    row, column = (cells(window, bias_mss.device) // fold).unbind(1)
    return bias_mss.index_select(1, row * (window // fold) + column)


def _queries(qkv: Tensor, fold: int) -> int:
    """Channels of the queries."""
    return qkv.shape[-1] * fold**2 // (fold**2 + 2)


def _check_attention(
    qkv: Tensor, bias: Tensor | None, heads: int, window: int, shift: int, fold: int
) -> None:
    _check_windows(qkv, window)
    c = _queries(qkv, fold)
    if c % fold**2 or c + 2 * c // fold**2 != qkv.shape[-1]:
        raise SpecError(
            f"window_attention: {qkv.shape[-1]} channels are not c of queries and c / {fold**2} "
            "of keys and of values"
        )
    if c % heads:
        raise SpecError(f"window_attention: {heads} heads do not divide {c} channels")
    if window % fold:
        raise SpecError(f"window_attention: cells of {fold} do not fill windows of {window}")
    if not 0 <= shift < window:
        raise SpecError(f"window_attention: shift is {shift}; must be 0 to {window - 1}")
    tokens = (window // fold) ** 2
    if bias is not None and bias.shape != (heads, tokens, tokens):
        expected = (heads, tokens, tokens)
        raise SpecError(f"window_attention: bias is {tuple(bias.shape)}; must be {expected}")


def _check_correlation(
    qv: Tensor,
    to_base: Tensor,
    bias: Tensor | None,
    proj: Tensor,
    heads: int,
    window: int,
) -> None:
    _check_windows(qv, window)
    c, ratio = qv.shape[-1] // 2, math.isqrt(to_base.numel())
    if qv.shape[-1] % 2 or c % heads:
        raise SpecError(
            f"correlation: {qv.shape[-1]} channels are not queries and values of {heads} heads"
        )
    if to_base.shape != (1, ratio**2) or window % ratio:
        raise SpecError(
            f"correlation: to_base_weight is {tuple(to_base.shape)}; must be (1, r²) for an r that "
            f"divides the window, {window}"
        )
    shape = (heads, window**2, (window // ratio) ** 2)
    if bias is not None and bias.shape != shape:
        raise SpecError(f"correlation: bias is {tuple(bias.shape)}; must be {shape}")
    if proj.ndim != 2 or proj.shape[1] != 2 * c:
        raise SpecError(f"correlation: proj_weight is {tuple(proj.shape)}; must be (o, {2 * c})")


def _check_windows(x: Tensor, window: int) -> None:
    if x.ndim != 4:
        raise SpecError(f"features are {tuple(x.shape)}; must be (batch, height, width, channels)")
    h, w = x.shape[1:3]
    if h % window or w % window:
        raise SpecError(
            f"features of {h}x{w} pixels are not whole windows of {window}x{window}; extend them"
        )
