"""The oracle is the paper formulation in float64, and its autograd."""

import pytest
import torch
from torch import Tensor, nn

from hitsr.models import correlation
from hitsr.models.fused.cuda.kernels import correlate as kernels
from hitsr.models.fused.cuda.kernels.correlate import correlate, why_not
from hitsr.specs import network as spec

NAMES = ("qv", "to_base.weight", "to_base.bias", "bias", "proj.weight", "proj.bias")
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# Of what is read, and of results and gradients; products of 16 bits are TF32's on a GPU.
ROUNDING = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 8e-3}


def _inputs(
    device: torch.device,
    *,
    window: int,
    ratio: int,
    c: int = 30,
    heads: int = 6,
    outputs: int | None = None,
    pictures: tuple[int, int, int] = (1, 1, 1),
) -> list[Tensor]:
    """Each part of the result matters: `pictures` counts pictures, rows and columns of windows."""
    torch.manual_seed(0)
    b, rows, columns = pictures
    cells, outputs = (window // ratio) ** 2, outputs or 2 * c
    shapes = (
        (b, rows * window, columns * window, 2 * c),
        (1, ratio**2),
        (1,),
        (heads, window**2, cells),
        (outputs, 2 * c),
        (outputs,),
    )
    inputs = [torch.randn(shape, device=device) for shape in shapes]
    inputs[1] /= ratio
    inputs[3] /= cells**0.5
    return inputs


def _paper(inputs: list[Tensor | None], heads: int, window: int) -> Tensor:
    """`Correlation._paper`, with the tensors as its parameters."""
    qv, weight, bias, position, proj_weight, proj_bias = inputs
    ratio, width = round(weight.numel() ** 0.5), qv.shape[-1]
    kind = "table" if position is not None else "none"
    mixer = correlation.Correlation(
        width,
        spec.Correlation(heads=heads, position=kind, position_width=3),
        window,
        window // ratio,
        0,
        None,
        "paper",
    )
    mixer.to_base, mixer.proj = _Layer(weight, bias), _Layer(proj_weight, proj_bias)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(correlation, "averaged_bias", lambda *_: position)
        return mixer._paper(qv)


class _Layer(nn.Module):
    """What `precision.linear` reads of a linear layer, with any tensors."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias


def _gradients(inputs: list[Tensor | None], out: Tensor, grad: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(out, [x for x in inputs if x is not None], grad))


def _wide(inputs: list[Tensor | None]) -> list[Tensor | None]:
    return [None if x is None else x.detach().double().requires_grad_() for x in inputs]


def _check(inputs: list[Tensor | None], heads: int, window: int, tolerance: float) -> Tensor:
    """The result, which is the paper's, as gradients are, to a part of the largest value of each.

    Gradients have the types of what they are for.
    """
    inputs = [None if x is None else x.requires_grad_() for x in inputs]
    wide = _wide(inputs)
    exact = _paper(wide, heads, window)
    found = correlate(*inputs, heads=heads, window=window)
    assert found.shape == exact.shape
    assert _error(found, exact) < tolerance
    grad = torch.randn_like(found)
    gradients = _gradients(inputs, found, grad)
    present = [(name, x) for name, x in zip(NAMES, inputs, strict=True) if x is not None]
    assert [each.dtype for each in gradients] == [x.dtype for _, x in present]
    pairs = zip(present, gradients, _gradients(wide, exact, grad.double()), strict=True)
    errors = {name: _error(to_found, to_exact) for (name, _), to_found, to_exact in pairs}
    assert max(errors.values()) < tolerance, errors
    return found


def _error(found: Tensor, exact: Tensor) -> float:
    found, exact = found.detach().double(), exact.detach()
    return float((found - exact).abs().max() / exact.abs().max())


@pytest.mark.parametrize(
    ("window", "ratio", "pictures"),
    [
        (4, 1, (2, 1, 2)),
        (8, 1, (2, 2, 1)),
        (8, 2, (2, 1, 2)),
        (16, 2, (2, 1, 1)),
        (12, 3, (1, 2, 1)),
        (16, 4, (1, 1, 2)),
        (24, 6, (1, 1, 1)),
        (32, 8, (1, 1, 1)),
    ],
)
def test_result_and_gradients_are_the_papers(
    window: int, ratio: int, pictures: tuple[int, int, int], device: torch.device
):
    inputs = _inputs(device, window=window, ratio=ratio, pictures=pictures)
    _check(inputs, 6, window, 1e-5)


@pytest.mark.parametrize(
    ("c", "heads", "outputs"), [(32, 4, 64), (24, 2, 36), (18, 3, 36), (10, 1, 7), (30, 30, 60)]
)
def test_any_channels_and_heads_within_the_limits(
    c: int, heads: int, outputs: int, device: torch.device
):
    inputs = _inputs(device, window=4, ratio=1, c=c, heads=heads, outputs=outputs)
    assert why_not(inputs[0], heads=heads, window=4, ratio=1, outputs=outputs) is None
    _check(inputs, heads, 4, 1e-5)


def test_there_may_be_no_position_bias(device: torch.device):
    inputs: list[Tensor | None] = list(_inputs(device, window=8, ratio=2))
    inputs[3] = None
    _check(inputs, 6, 8, 1e-5)


@pytest.mark.parametrize("qv_dtype", DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_each_tensor_may_have_its_own_dtype(
    qv_dtype: torch.dtype, dtype: torch.dtype, device: torch.device
):
    inputs = [x.to(dtype) for x in _inputs(device, window=8, ratio=2, c=12, heads=2)]
    inputs[0] = inputs[0].to(qv_dtype)
    found = _check(inputs, 2, 8, max(ROUNDING[qv_dtype], ROUNDING[dtype]))
    assert found.dtype == (torch.float32 if qv_dtype == torch.float16 else qv_dtype)


def test_values_beyond_float16_are_kept(device: torch.device):
    inputs = [x.half() for x in _inputs(device, window=8, ratio=2, c=12, heads=2)]
    inputs[0] = (inputs[0] * 10000).clamp(-60000, 60000)
    exact = _paper(_wide(inputs), 2, 8)
    found = correlate(*inputs, heads=2, window=8)
    assert exact.abs().max() > 1e11
    assert _error(found, exact) < 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_finite_differences(name: str, device: torch.device):
    inputs = _inputs(device, window=8, ratio=2, c=6, heads=2, outputs=5)
    place = NAMES.index(name)
    x, step = inputs[place], torch.randn_like(inputs[place])
    grad = torch.randn(correlate(*inputs, heads=2, window=8).shape, device=device)

    def along(distance: float) -> Tensor:
        inputs[place] = x + distance * step
        return (correlate(*inputs, heads=2, window=8) * grad).sum()

    # Exact but for rounding: the result is of the third degree in any one of the inputs.
    differences = 8 * (along(0.5) - along(-0.5)) - (along(1) - along(-1))
    inputs[place] = x.requires_grad_()
    (correlate(*inputs, heads=2, window=8) * grad).sum().backward()
    torch.testing.assert_close((x.grad * step).sum(), differences / 6, rtol=1e-4, atol=1e-2)


def test_programs_sum_shares_of_any_number_of_windows(
    device: torch.device, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kernels, "_PROGRAMS", 5)
    _check(_inputs(device, window=4, ratio=1, pictures=(2, 3, 2)), 6, 4, 1e-5)


def test_gradients_repeat_to_the_last_bit(device: torch.device):
    inputs = [x.requires_grad_() for x in _inputs(device, window=4, ratio=1, pictures=(1, 2, 1))]
    found = [correlate(*inputs, heads=6, window=4) for _ in range(2)]
    grad = torch.randn_like(found[0])
    first, second = (_gradients(list(inputs), out, grad) for out in found)
    assert all(torch.equal(x, y) for x, y in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("shape", "heads", "window", "ratio", "outputs", "reason"),
    [
        ((1, 8, 8, 60), 7, 8, 1, 60, "60 channels of queries and values in 7 heads"),
        ((1, 8, 8, 180), 6, 8, 1, 60, "90 channels of queries, more than 32"),
        ((1, 8, 8, 60), 6, 8, 1, 180, "180 channels of the result, more than 64"),
        ((1, 24, 24, 60), 6, 24, 2, 60, "windows of 24 pixels with cells of 2"),
        ((1, 96, 96, 60), 6, 96, 12, 60, "windows of 96 pixels"),
        ((1, 8, 12, 60), 6, 8, 1, 60, "8x12 pixels, not whole windows of 8"),
    ],
)
def test_limits_have_reasons(
    shape: tuple[int, ...], heads: int, window: int, ratio: int, outputs: int, reason: str
):
    qv = torch.empty(shape, device="meta")
    found = why_not(qv, heads=heads, window=window, ratio=ratio, outputs=outputs)
    assert found is not None
    assert found.startswith(reason)


def test_pictures_that_32_bits_cannot_count_have_a_reason():
    qv = torch.empty(64, 1024, 1024, 60, device="meta")
    found = why_not(qv, heads=6, window=8, ratio=1, outputs=60)
    assert found == "64 pictures of 1024x1024 pixels, too many to count in 32 bits"
