"""The oracle is the paper formulation in float64, and its autograd."""

import pytest
import torch
from torch import Tensor, nn

from hitsr.models import correlation
from hitsr.models.fused.cuda.kernels.correlate import correlate
from hitsr.specs import network as spec

NAMES = ("qv", "to_base.weight", "to_base.bias", "bias", "proj.weight", "proj.bias")
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# How exactly a dtype is multiplied: float32 by three products in TF32.
ROUNDING = {torch.float32: 2e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}


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


def _check(
    inputs: list[Tensor | None], heads: int, window: int, tolerance: float, **options: object
) -> None:
    """Result and gradients are the paper's, to a part of the largest value of each."""
    inputs = [None if x is None else x.requires_grad_() for x in inputs]
    wide = _wide(inputs)
    exact = _paper(wide, heads, window)
    found = correlate(*inputs, heads=heads, window=window, **options)
    assert found.shape == exact.shape
    assert _error(found, exact) < tolerance
    grad = torch.randn_like(found)
    pairs = zip(
        [name for name, x in zip(NAMES, inputs) if x is not None],
        _gradients(inputs, found, grad),
        _gradients(wide, exact, grad.double()),
        strict=True,
    )
    errors = {name: _error(to_found, to_exact) for name, to_found, to_exact in pairs}
    assert max(errors.values()) < tolerance, errors


def _error(found: Tensor, exact: Tensor) -> float:
    found, exact = found.detach().double(), exact.detach()
    return float((found - exact).abs().max() / exact.abs().max())


@pytest.mark.parametrize(
    ("window", "ratio", "pictures"),
    [
        (4, 1, (2, 3, 2)),
        (8, 1, (2, 1, 3)),
        (8, 2, (2, 2, 1)),
        (16, 2, (2, 1, 2)),
        (12, 3, (1, 2, 1)),
        (16, 4, (1, 1, 2)),
        (32, 4, (1, 1, 2)),
        (48, 6, (1, 1, 1)),
        (64, 8, (1, 1, 1)),
    ],
)
def test_result_and_gradients_are_the_papers(
    window: int, ratio: int, pictures: tuple[int, int, int], device: torch.device
):
    inputs = _inputs(device, window=window, ratio=ratio, pictures=pictures)
    _check(inputs, 6, window, 2e-5)
