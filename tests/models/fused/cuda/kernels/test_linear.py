from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hitsr.models.fused.cuda.kernels.linear import Activation, linear, why_not

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "gelu": F.gelu,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2),
}


def _layers(c: int, outputs: int, device: torch.device) -> tuple[nn.Linear, nn.LayerNorm]:
    torch.manual_seed(0)
    layer, norm = nn.Linear(c, outputs), nn.LayerNorm(c)
    nn.init.normal_(layer.weight, std=c**-0.5)
    nn.init.normal_(layer.bias)
    nn.init.normal_(norm.weight, 1, 0.3)
    nn.init.normal_(norm.bias)
    return layer.to(device), norm.to(device)


def _exact(x: Tensor, layer: nn.Linear, norm: nn.LayerNorm | None, dtype: torch.dtype) -> Tensor:
    """In float64, of weights that are rounded to dtype."""
    x = x.double()
    if norm is not None:
        x = F.layer_norm(x, x.shape[-1:], norm.weight.double(), norm.bias.double(), norm.eps)
    return F.linear(x, layer.weight.to(dtype).double(), layer.bias.double())


@torch.no_grad()
@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(
    ("c", "outputs", "shape"),
    [(60, 180, (2, 5, 7)), (6, 3, (1,)), (36, 65, (17,)), (64, 256, (16,))],
)
def test_linear_is_pytorchs(
    c: int,
    outputs: int,
    shape: tuple[int, ...],
    activation: Activation,
    normed: bool,
    device: torch.device,
):
    layer, norm = _layers(c, outputs, device)
    x = 2 * torch.randn(*shape, c, device=device) + 1
    chosen = norm if normed else None
    found = linear(
        x, layer.weight, layer.bias, norm=chosen, activation=activation, dtype=torch.float32
    )
    exact = ACTIVATIONS[activation](_exact(x, layer, chosen, torch.float32))
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("x_dtype", DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("out", [None, *DTYPES])
def test_features_products_and_results_have_types_of_their_own(
    x_dtype: torch.dtype, dtype: torch.dtype, out: torch.dtype | None, device: torch.device
):
    layer, norm = _layers(60, 60, device)
    x = torch.randn(20, 60, device=device).to(x_dtype)
    norm = norm.to(x_dtype)
    found = linear(x, layer.weight, layer.bias, norm=norm, dtype=dtype, out=out)
    assert found.dtype == (out or dtype)
    exact = _exact(x, layer, norm, dtype)
    # Each of 60 normed values, below 5, is rounded to dtype before it is weighted.
    products = 5 * torch.finfo(dtype).eps + 1e-5
    rounded = torch.finfo(found.dtype).eps * float(exact.abs().max())
    assert (found - exact).abs().max() < products + rounded


@pytest.mark.parametrize(
    ("c", "outputs", "reason"),
    [
        (60, 180, None),
        (65, 180, "65 input channels, more than 64"),
        (60, 257, "257 output channels, more than 256"),
        (6, 256, "more values than 32 bits count"),
    ],
)
def test_sizes_beyond_the_limits_are_named(c: int, outputs: int, reason: str | None):
    assert why_not(torch.empty(2**23, c, device="meta"), outputs) == reason
