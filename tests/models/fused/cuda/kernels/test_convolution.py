import pytest
import torch
from torch import Tensor, nn

from hitsr.models.fused.cuda.kernels import convolution
from hitsr.models.fused.cuda.kernels.convolution import convolve, laid_out, why_not

DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def _inputs(
    c: int, o: int, side: int, shape: tuple[int, int, int], device: torch.device
) -> tuple[Tensor, nn.Conv2d, Tensor]:
    torch.manual_seed(0)
    conv = nn.Conv2d(c, o, side, padding=side // 2).requires_grad_(False)
    conv.weight.normal_(std=(c * side**2) ** -0.5)
    conv.bias.normal_()
    x, residual = torch.randn(*shape, c), torch.randn(*shape, o)
    return x.to(device), conv.to(device), residual.to(device)


def _exact(x: Tensor, conv: nn.Conv2d, residual: Tensor | None) -> Tensor:
    """In float64, of the values as their types round them."""
    bias = None if conv.bias is None else conv.bias.double()
    nchw = x.double().permute(0, 3, 1, 2)
    out = torch.nn.functional.conv2d(nchw, conv.weight.double(), bias, padding=conv.padding)
    out = out.permute(0, 2, 3, 1)
    return out if residual is None else out + residual.double()


@pytest.mark.parametrize("large", [False, True], ids=["small tiles", "large tiles"])
@pytest.mark.parametrize(
    ("c", "o", "side", "shape", "adds"),
    [
        (60, 60, 3, (2, 9, 17), True),
        (60, 12, 3, (1, 8, 16), False),
        (60, 48, 3, (1, 5, 3), False),
        (3, 60, 3, (1, 1, 21), False),
        (64, 64, 1, (1, 9, 8), True),
        (37, 5, 3, (3, 2, 1), True),
        (20, 33, 1, (2, 3, 7), False),
    ],
)
def test_a_convolution_is_that_of_float64_to_rounding(
    c: int, o: int, side: int, shape: tuple[int, int, int], adds: bool, large: bool,
    device: torch.device, monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    monkeypatch.setattr(convolution, "_SMALL", 0 if large else 2**31)
    x, conv, residual = _inputs(c, o, side, shape, device)
    added = residual if adds else None
    assert why_not(x, conv) is None
    found = convolve(x, conv, residual=added)
    assert found.shape == (*shape, o)
    torch.testing.assert_close(found.double(), _exact(x, conv, added), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("x_dtype", DTYPES)
def test_products_features_and_result_may_each_have_their_own_dtype(
    x_dtype: torch.dtype, dtype: torch.dtype, device: torch.device
):
    x, conv, residual = _inputs(60, 60, 3, (1, 5, 9), device)
    x = x.bfloat16().float()  # which all types hold: the interpreter does not round to the nearest
    for out_dtype in (None, torch.bfloat16):
        found = convolve(x.to(x_dtype), conv, residual=residual, dtype=dtype, out_dtype=out_dtype)
        assert found.dtype == (out_dtype or x_dtype)
        rounded = nn.Conv2d(60, 60, 3, padding=1).to(x.device).requires_grad_(False)
        rounded.weight.copy_(conv.weight.to(dtype))
        rounded.bias.copy_(conv.bias)
        exact = _exact(x, rounded, residual)
        rtol = max(torch.finfo(found.dtype).eps, 1e-5)
        torch.testing.assert_close(found.double(), exact, rtol=rtol, atol=1e-5)


def test_a_weight_laid_out_once_and_no_bias_will_do(device: torch.device):
    x, conv, _ = _inputs(60, 12, 3, (1, 4, 5), device)
    conv.bias = None
    weight = laid_out(conv, torch.float16)
    assert weight.shape == (9, 64, 16)
    found = convolve(x.half(), conv, weight=weight)
    assert torch.equal(found, convolve(x.half(), conv))
    torch.testing.assert_close(found.double(), _exact(x, conv, None), rtol=2e-3, atol=5e-3)


def test_features_of_any_layout_will_do(device: torch.device):
    x, conv, residual = _inputs(60, 60, 3, (2, 4, 6), device)
    other = x.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    turned = residual.transpose(1, 2).contiguous().transpose(1, 2)
    assert not any(each.is_contiguous() for each in (other, turned))
    assert torch.equal(convolve(other, conv, residual=turned), convolve(x, conv, residual=residual))


@pytest.mark.parametrize(
    ("conv", "reason"),
    [
        (nn.Conv2d(60, 60, 5, padding=2), "a kernel of 5x5"),
        (nn.Conv2d(60, 60, (3, 1), padding=(1, 0)), "a kernel of 3x1"),
        (nn.Conv2d(65, 60, 3, padding=1), "65 channels, more than 64"),
        (nn.Conv2d(60, 240, 1), "240 channels"),
        (nn.Conv2d(60, 60, 3), "padding"),
        (nn.Conv2d(60, 60, 3, padding=1, stride=2), "strides"),
        (nn.Conv2d(60, 60, 3, padding=1, padding_mode="reflect"), "padding"),
        (nn.Conv2d(60, 60, 3, padding=1, groups=60), "groups"),
    ],
)
def test_it_says_what_it_cannot_take(conv: nn.Conv2d, reason: str):
    x = torch.empty(1, 8, 8, conv.in_channels)
    with torch.inference_mode():
        assert reason in (why_not(x, conv) or "nothing")


def test_it_says_that_it_has_no_gradient_and_counts_in_32_bits():
    conv = nn.Conv2d(60, 60, 3, padding=1)
    x = torch.empty(1, 8, 8, 60)
    assert why_not(x, conv) == "gradients are wanted"
    with torch.no_grad():
        assert why_not(x, conv) is None
        large = torch.empty(1, 1, device="meta").expand(6000, 6000)[None, ..., None]
        assert "32 bits" in (why_not(large, conv) or "nothing")
