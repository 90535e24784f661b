"""Window attention and correlation as functions, for networks of your own.

On a CUDA device they are Triton kernels where `cuda.choice` says so, else PyTorch's operators; on a
CPU attention goes tile by tile. Both are differentiable once, not by `torch.func`, and give the
same whatever computes them, but for rounding: in float32 to about 1e-6 of the largest value, with
16-bit features as products of such types do. Results have the type of the features; parameters of
another floating type are converted. docs/your-network.md has an example.

Shapes: b batch, h height, w width, c channels, m heads, t tokens of a window, r ratio.
"""

import math
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from hitsr.base.errors import SpecError, shortened
from hitsr.models.fused import correlation as fused
from hitsr.models.fused.backend import backend_of
from hitsr.models.fused.cpu.tiles import Grid, attend_in_tiles
from hitsr.models.fused.cuda.choice import best
from hitsr.models.fused.cuda.correlation import correlated
from hitsr.models.windows import cells, in_heads, merge, roll, shift_mask, split
from hitsr.runtime.trials import Way

_TYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


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
    to 16x16 cells and heads of up to 64 channels. Raises SpecError for shapes and types that do not
    fit, and for features without values.
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

    sizes = {"window": window, "shift": shift, "fold": fold, "heads": heads}
    return best("window_attention", kernel, plain, inputs, sizes=sizes)(*inputs)


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
    or 8x8 base cells, c up to 32 and o up to 64; if `proj_weight` is of a 16-bit type, they
    multiply float32 features in TF32. Raises SpecError for shapes and types that do not fit, and
    for features without values.
    """
    to_base, proj = (to_base_weight, to_base_bias), (proj_weight, proj_bias)
    _check_correlation(qv_bhwc, to_base, bias, proj, heads, window)
    same_head = fused.same_head(qv_bhwc.shape[-1] // 2, heads).to(qv_bhwc)

    def plain(qv: Tensor) -> Tensor:
        _, h, w, _ = qv.shape
        added = None if bias is None else bias.to(qv.dtype)
        mixed = fused.correlate(split(qv, window), to_base, added, proj, same_head, heads=heads)
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
    added = None if bias is None else _of_tokens(bias, window, fold).to(qkv.dtype)
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
        added = mask if added is None else added + mask
    elif added is not None:
        added = added[None]
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
    what = "window_attention"
    _check_whole(what, heads=heads, window=window, fold=fold)
    _check_windows(what, qkv, window)
    c = _queries(qkv, fold)
    if c % fold**2 or c + 2 * c // fold**2 != qkv.shape[-1]:
        raise SpecError(
            f"{what}: {qkv.shape[-1]} channels are not c of queries and c / {fold**2} "
            "of keys and of values"
        )
    if c % heads:
        raise SpecError(f"{what}: {heads} heads do not divide {c} channels")
    if window % fold:
        raise SpecError(f"{what}: cells of {fold} do not fill windows of {window}")
    if not _is_whole(shift) or not 0 <= shift < window:
        raise SpecError(f"{what}: shift is {shortened(shift)}; must be 0 to {window - 1}")
    tokens = (window // fold) ** 2
    if bias is not None:
        _check_shape(what, "bias", bias, (heads, tokens, tokens))


def _check_correlation(
    qv: Tensor,
    to_base: tuple[Tensor, Tensor],
    bias: Tensor | None,
    proj: tuple[Tensor, Tensor],
    heads: int,
    window: int,
) -> None:
    what = "correlation"
    _check_whole(what, heads=heads, window=window)
    _check_windows(what, qv, window)
    c, weight = qv.shape[-1] // 2, to_base[0]
    if qv.shape[-1] % 2 or c % heads:
        raise SpecError(
            f"{what}: {qv.shape[-1]} channels are not queries and values of {heads} heads"
        )
    ratio = max(1, math.isqrt(weight.numel()))
    if weight.shape != (1, ratio**2) or window % ratio:
        raise SpecError(
            f"{what}: to_base_weight is {tuple(weight.shape)}; must be (1, r²) for an r that "
            f"divides the window, {window}"
        )
    _check_shape(what, "to_base_bias", to_base[1], (1,))
    if bias is not None:
        _check_shape(what, "bias", bias, (heads, window**2, (window // ratio) ** 2))
    if proj[0].ndim != 2 or proj[0].shape[1] != 2 * c:
        shape = tuple(proj[0].shape)
        raise SpecError(f"{what}: proj_weight is {shape}; must be (o, {2 * c})")
    _check_shape(what, "proj_bias", proj[1], (len(proj[0]),))


def _check_windows(what: str, x: Tensor, window: int) -> None:
    """Features are whole windows of a floating type."""
    kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
    if kind not in _TYPES:
        names = " or ".join(str(each) for each in _TYPES)
        raise SpecError(f"{what}: features are {kind}; must be {names}")
    if x.ndim != 4 or not x.numel():
        shape = tuple(x.shape)
        raise SpecError(
            f"{what}: features are {shape}; must be (batch, height, width, channels), "
            "none of them 0"
        )
    h, w = x.shape[1:3]
    if h % window or w % window:
        raise SpecError(
            f"{what}: features of {h}x{w} pixels are not whole windows of {window}x{window}; "
            "extend them"
        )


def _check_shape(what: str, name: str, x: Tensor, shape: tuple[int, ...]) -> None:
    found = tuple(x.shape) if isinstance(x, Tensor) else shortened(x)
    if found != shape:
        raise SpecError(f"{what}: {name} is {found}; must be {shape}")


def _check_whole(what: str, **numbers: int) -> None:
    for name, number in numbers.items():
        if not _is_whole(number) or number < 1:
            raise SpecError(
                f"{what}: {name} is {shortened(number)}; must be a whole number of 1 or more"
            )


def _is_whole(number: object) -> bool:
    return isinstance(number, int | torch.SymInt) and not isinstance(number, bool)
