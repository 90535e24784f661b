"""The correlation's dual features, with gradients: a convolution branch times a linear branch.

Forward, a linear layer squeezes each pixel, and one kernel does the rest; its 3x3 convolution is a
product with nine pixels' channels. What is kept for the gradients is narrow: squeezed pixels, and
those after the convolution. In the gradients, one kernel makes those of both factors, and another
one follows the convolution back to x; weights have kernels of their own, since their sums would
leave too few registers for anything else.

With c = 5 e channels, forward and gradients read and write 15 c values of a pixel. PyTorch's
operators, each of which reads and writes whole features, move 31 c.

Shapes: b pictures, h height, w width, c channels, e squeezed channels, r pixels of all pictures.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitsr.models.correlation import DualFeatures
from hitsr.models.fused.cuda.kernels.common import TYPES, channels, leaky_relu, transposed
from hitsr.models.fused.cuda.kernels.launch import fits, launch, product_of
from hitsr.models.fused.cuda.kernels.linear import linear

MOST_CHANNELS = 64
MOST_SQUEEZED = 16
_PIXELS = 64  # of one program's block
_INPUTS = 16  # channels at a time of products whose operands would fill the registers
_PROGRAMS = 256  # of sums, each of which has its share of the pixels


@triton.jit
def _rows(x_p, r, rows, C: tl.constexpr, CP: tl.constexpr):
    """Channels of rows r: (r, CP), zero beyond `rows` and C."""
    c = tl.arange(0, CP)
    real = (r < rows)[:, None] & (c < C)[None, :]
    return tl.load(x_p + r[:, None] * C + c[None, :], mask=real, other=0.0)


@triton.jit
def _store_rows(x_p, r, rows, x, C: tl.constexpr, CP: tl.constexpr):
    """Store channels of rows r."""
    c = tl.arange(0, CP)
    real = (r < rows)[:, None] & (c < C)[None, :]
    tl.store(x_p + r[:, None] * C + c[None, :], x.to(x_p.dtype.element_ty), mask=real)


@triton.jit
def _near(x_p, r, rows, h, w, tap, e, SIGN: tl.constexpr, E: tl.constexpr):
    """Channel e of each pixel's neighbour `tap`, counted row by row, or with SIGN -1 backwards.

    tap, e: (columns). The result, (r, columns), is zero where tap > 8, and beyond the picture.
    """
    y, x = r // w % h, r % w
    down, right = SIGN * (tap // 3 - 1), SIGN * (tap % 3 - 1)
    yy, xx = y[:, None] + down[None, :], x[:, None] + right[None, :]
    real = (r < rows)[:, None] & (tap < 9)[None, :] & (yy >= 0) & (yy < h) & (xx >= 0) & (xx < w)
    at = (r[:, None] + (down * w + right)[None, :]) * E + e[None, :]
    return tl.load(x_p + at, mask=real, other=0.0)


@triton.jit
def _gate(
    x_p, weight_p, bias_p, r, rows,
    C: tl.constexpr, CP: tl.constexpr, CHUNK: tl.constexpr, DT: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """The linear branch of rows r: (r, CP) float32, CHUNK of its input channels at a time."""
    o = tl.arange(0, CP)
    gate = tl.zeros((r.shape[0], CP), tl.float32) + channels(bias_p, C, CP)[None, :]
    for first in range(0, CP, CHUNK):
        c = first + tl.arange(0, CHUNK)
        here = (r < rows)[:, None] & (c < C)[None, :]
        x = tl.load(x_p + r[:, None] * C + c[None, :], mask=here, other=0.0).to(DT)
        real = (c < C)[:, None] & (o < C)[None, :]
        weight = tl.load(weight_p + o[None, :] * C + c[:, None], mask=real, other=0.0).to(DT)
        gate = tl.dot(x, weight, gate, input_precision=PREC)
    return gate


@triton.jit(do_not_specialize=["rows", "h", "w"])
def _features(
    x_p, squeezed_p, spatial_p, spatial_bias_p, expand_p, expand_bias_p, gate_p, gate_bias_p,
    narrow_p, y_p, rows, h, w,
    C: tl.constexpr, CP: tl.constexpr, E: tl.constexpr, EP: tl.constexpr, T: tl.constexpr,
    CHUNK: tl.constexpr, DT: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    r = tl.program_id(0) * T + tl.arange(0, T)
    o = tl.arange(0, EP)
    narrow = tl.zeros((T, EP), tl.float32) + channels(spatial_bias_p, E, EP)[None, :]
    for first in range(0, 9 * E, EP):
        i = first + tl.arange(0, EP)
        near = _near(squeezed_p, r, rows, h, w, i // E, i % E, 1, E)
        at = o[None, :] * (9 * E) + (i % E * 9 + i // E)[:, None]
        real = (i < 9 * E)[:, None] & (o < E)[None, :]
        weight = tl.load(spatial_p + at, mask=real, other=0.0).to(DT)
        narrow = tl.dot(near, weight, narrow, input_precision=PREC)
    narrow = leaky_relu(narrow).to(DT)
    _store_rows(narrow_p, r, rows, narrow, E, EP)
    expand = transposed(expand_p, E, C, EP, CP).to(DT)
    y = tl.dot(narrow, expand, input_precision=PREC) + channels(expand_bias_p, C, CP)[None, :]
    y *= _gate(x_p, gate_p, gate_bias_p, r, rows, C, CP, CHUNK, DT, PREC)
    _store_rows(y_p, r, rows, y, C, CP)


@triton.jit(do_not_specialize=["rows"])
def _factors_gradient(
    x_p, narrow_p, expand_p, expand_bias_p, gate_p, gate_bias_p, grad_p, to_features_p, to_gate_p,
    to_narrow_p, rows,
    C: tl.constexpr, CP: tl.constexpr, E: tl.constexpr, EP: tl.constexpr, T: tl.constexpr,
    CHUNK: tl.constexpr, DT: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    r = tl.program_id(0) * T + tl.arange(0, T)
    narrow = _rows(narrow_p, r, rows, E, EP)
    expand = transposed(expand_p, E, C, EP, CP).to(DT)
    features = tl.dot(narrow, expand, input_precision=PREC)
    features += channels(expand_bias_p, C, CP)[None, :]
    grad = _rows(grad_p, r, rows, C, CP).to(tl.float32)
    _store_rows(to_gate_p, r, rows, grad * features, C, CP)
    grad *= _gate(x_p, gate_p, gate_bias_p, r, rows, C, CP, CHUNK, DT, PREC)
    _store_rows(to_features_p, r, rows, grad, C, CP)
    to_narrow = tl.dot(grad.to(DT), tl.trans(expand), input_precision=PREC)
    to_narrow = tl.where(narrow > 0, to_narrow, 0.2 * to_narrow)
    _store_rows(to_narrow_p, r, rows, to_narrow, E, EP)


@triton.jit(do_not_specialize=["rows", "h", "w"])
def _inputs_gradient(
    squeezed_p, squeeze_p, spatial_p, gate_p, to_gate_p, to_narrow_p, to_squeezed_p, to_x_p,
    rows, h, w,
    C: tl.constexpr, CP: tl.constexpr, E: tl.constexpr, EP: tl.constexpr, T: tl.constexpr,
    CHUNK: tl.constexpr, DT: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    r = tl.program_id(0) * T + tl.arange(0, T)
    c = tl.arange(0, CP)
    e = tl.arange(0, EP)
    to_squeezed = tl.zeros((T, EP), tl.float32)
    for first in range(0, 9 * E, EP):
        i = first + tl.arange(0, EP)
        near = _near(to_narrow_p, r, rows, h, w, i // E, i % E, -1, E)
        at = (i % E * (9 * E) + i // E)[:, None] + e[None, :] * 9
        taken = (i < 9 * E)[:, None] & (e < E)[None, :]
        weight = tl.load(spatial_p + at, mask=taken, other=0.0).to(DT)
        to_squeezed = tl.dot(near.to(DT), weight, to_squeezed, input_precision=PREC)
    squeezed = _rows(squeezed_p, r, rows, E, EP)
    to_squeezed = tl.where(squeezed > 0, to_squeezed, 0.2 * to_squeezed).to(DT)
    _store_rows(to_squeezed_p, r, rows, to_squeezed, E, EP)
    real = (e < E)[:, None] & (c < C)[None, :]
    squeeze = tl.load(squeeze_p + e[:, None] * C + c[None, :], mask=real, other=0.0).to(DT)
    to_x = tl.dot(to_squeezed, squeeze, input_precision=PREC)
    for first in range(0, CP, CHUNK):
        o = first + tl.arange(0, CHUNK)
        here = (r < rows)[:, None] & (o < C)[None, :]
        to_gate = tl.load(to_gate_p + r[:, None] * C + o[None, :], mask=here, other=0.0).to(DT)
        both = (o < C)[:, None] & (c < C)[None, :]
        gate = tl.load(gate_p + o[:, None] * C + c[None, :], mask=both, other=0.0).to(DT)
        to_x = tl.dot(to_gate, gate, to_x, input_precision=PREC)
    _store_rows(to_x_p, r, rows, to_x, C, CP)


@triton.jit(do_not_specialize=["rows"])
def _weight_gradient(
    to_y_p, x_p, to_weight_p, to_bias_p, rows,
    C: tl.constexpr, CP: tl.constexpr, OUT: tl.constexpr, OP: tl.constexpr, T: tl.constexpr,
    DT: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """Of a linear layer from C to OUT channels."""
    program = tl.program_id(0)
    c = tl.arange(0, CP)
    o = tl.arange(0, OP)
    to_weight = tl.zeros((OP, CP), tl.float32)
    to_bias = tl.zeros((OP,), tl.float32)
    for block in range(program, tl.cdiv(rows, T), tl.num_programs(0)):
        r = block * T + tl.arange(0, T)
        to_y = _rows(to_y_p, r, rows, OUT, OP)
        to_bias += tl.sum(to_y.to(tl.float32), 0)
        x = _rows(x_p, r, rows, C, CP).to(DT)
        to_weight = tl.dot(tl.trans(to_y.to(DT)), x, to_weight, input_precision=PREC)
    real = (o < OUT)[:, None] & (c < C)[None, :]
    tl.store(to_weight_p + (program * OUT + o[:, None]) * C + c[None, :], to_weight, mask=real)
    tl.store(to_bias_p + program * OUT + o, to_bias, mask=o < OUT)


@triton.jit(do_not_specialize=["rows", "h", "w"])
def _convolution_gradient(
    to_y_p, x_p, to_weight_p, to_bias_p, rows, h, w,
    E: tl.constexpr, EP: tl.constexpr, T: tl.constexpr, DT: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """Of the 3x3 convolution's weight, one tap of it: (programs, 9, e, e); of its bias, 9 times."""
    program = tl.program_id(0)
    tap = tl.program_id(1)
    e = tl.arange(0, EP)
    to_weight = tl.zeros((EP, EP), tl.float32)
    to_bias = tl.zeros((EP,), tl.float32)
    for block in range(program, tl.cdiv(rows, T), tl.num_programs(0)):
        r = block * T + tl.arange(0, T)
        to_y = _rows(to_y_p, r, rows, E, EP)
        to_bias += tl.sum(to_y.to(tl.float32), 0)
        near = _near(x_p, r, rows, h, w, tl.where(e < E, tap, 9), e, 1, E).to(DT)
        to_weight = tl.dot(tl.trans(to_y.to(DT)), near, to_weight, input_precision=PREC)
    place = (program * 9 + tap) * E + e
    real = (e < E)[:, None] & (e < E)[None, :]
    tl.store(to_weight_p + place[:, None] * E + e[None, :], to_weight, mask=real)
    tl.store(to_bias_p + place, to_bias, mask=e < E)


def why_not(module: DualFeatures, x: Tensor) -> str | None:
    """Why `dual_features` cannot take x (b, h, w, c); None if it can.

    It takes both branches, up to 64 channels and 16 squeezed ones, and fewer than 2**31 values.
    """
    if module.kind != "dual":
        return f"features of the {module.kind} branch alone"
    squeezed, c = module.squeeze.weight.shape[:2]
    if c > MOST_CHANNELS:
        return f"{c} channels, more than {MOST_CHANNELS}"
    if squeezed > MOST_SQUEEZED:
        return f"{squeezed} squeezed channels, more than {MOST_SQUEEZED}"
    if not fits(x.numel()):
        return "more values than 32 bits count"
    return None


def dual_features(x_bhwc: Tensor, module: DualFeatures, dtype: torch.dtype) -> Tensor:
    """`DualFeatures.forward` with products in `dtype`: (b, h, w, c), for what `why_not` allows.

    The result is in `dtype`, or in float32 if that is float16, which may end below it. x and the
    parameters may have any of the types of `launch.DTYPES`. Differentiable once, in all of them.
    """
    layers = module.squeeze, module.spatial, module.expand, module.gate
    parameters = [each for layer in layers for each in (layer.weight, layer.bias)]
    features: Tensor = _Features.apply(x_bhwc, dtype, *parameters)
    return features


class _Features(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dtype: torch.dtype, *parameters: Tensor) -> Tensor:
        x, parameters = x.contiguous(), tuple(each.contiguous() for each in parameters)
        squeezed = linear(
            x, parameters[0].flatten(1), parameters[1], activation="leaky_relu", dtype=dtype
        )
        narrow = torch.empty_like(squeezed)
        y = torch.empty_like(x, dtype=torch.float32 if dtype == torch.float16 else dtype)
        rows = x.shape[:3].numel()
        tensors, numbers = (x, squeezed, *parameters[2:], narrow, y), (rows, *x.shape[1:3])
        grid = (triton.cdiv(rows, _PIXELS),)
        launch(_features, grid, tensors, numbers, **_constants(x, squeezed))
        ctx.save_for_backward(x, squeezed, narrow, *parameters)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, squeezed, narrow, *parameters = ctx.saved_tensors
        squeeze, _, spatial, _, expand, expand_bias, gate, gate_bias = parameters
        rows, (h, w) = x.shape[:3].numel(), x.shape[1:3]
        constants = _constants(x, squeezed)
        grid = (triton.cdiv(rows, _PIXELS),)
        to_features, to_gate = (torch.empty_like(x, dtype=narrow.dtype) for _ in range(2))
        to_narrow = torch.empty_like(narrow)
        launch(
            _factors_gradient, grid,
            (
                x, narrow, expand, expand_bias, gate, gate_bias, grad.contiguous(), to_features,
                to_gate, to_narrow,
            ),
            (rows,), **constants,
        )  # fmt: skip
        to_squeezed, to_x = torch.empty_like(squeezed), torch.empty_like(x)
        tensors = (squeezed, squeeze, spatial, gate, to_gate, to_narrow, to_squeezed, to_x)
        launch(_inputs_gradient, grid, tensors, (rows, h, w), **constants)
        gradients = (
            *_of_linear(to_squeezed, x),
            *_of_convolution(to_narrow, squeezed),
            *_of_linear(to_features, narrow),
            *_of_linear(to_gate, x),
        )  # fmt: skip
        shaped = [
            gradient.view(parameter.shape).to(parameter.dtype)
            for gradient, parameter in zip(gradients, parameters, strict=True)
        ]
        return to_x, None, *shaped


def _padded(n: int) -> int:
    return max(16, int(triton.next_power_of_2(n)))


def _constants(x: Tensor, squeezed: Tensor) -> dict[str, Any]:
    c, e, dtype = x.shape[-1], squeezed.shape[-1], squeezed.dtype
    columns = _padded(c)
    sizes = {"C": c, "CP": columns, "E": e, "EP": _padded(e), "T": _PIXELS, "CHUNK": _INPUTS}
    return sizes | {"DT": TYPES[dtype], "PREC": product_of(dtype)}


def _of_linear(to_y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of a linear layer's weight, (o, c), and bias, (o), from those of its result."""
    c, o, rows = x.shape[-1], to_y.shape[-1], x.shape[:3].numel()
    block = _PIXELS // 2
    programs = min(triton.cdiv(rows, block), _PROGRAMS)
    to_weight = to_y.new_empty(programs, o, c, dtype=torch.float32)
    to_bias = to_y.new_empty(programs, o, dtype=torch.float32)
    launch(
        _weight_gradient, (programs,), (to_y, x, to_weight, to_bias), (rows,),
        C=c, CP=_padded(c), OUT=o, OP=_padded(o), T=block, DT=TYPES[to_y.dtype],
        PREC=product_of(to_y.dtype),
    )  # fmt: skip
    return to_weight.sum(0), to_bias.sum(0)


def _of_convolution(to_y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of a 3x3 convolution's weight, (e, e, 3, 3), and bias, (e)."""
    _, h, w, e = x.shape
    rows = x.shape[:3].numel()
    programs = min(triton.cdiv(rows, _PIXELS), _PROGRAMS)
    to_weight = to_y.new_empty(programs, 9, e, e, dtype=torch.float32)
    to_bias = to_y.new_empty(programs, 9, e, dtype=torch.float32)
    launch(
        _convolution_gradient, (programs, 9), (to_y, x, to_weight, to_bias), (rows, h, w), warps=2,
        E=e, EP=_padded(e), T=_PIXELS, DT=TYPES[to_y.dtype], PREC=product_of(to_y.dtype),
    )  # fmt: skip
    return to_weight.sum(0).permute(1, 2, 0).contiguous(), to_bias[:, 0].sum(0)
