"""Window attention and correlation as functions, beside the mixers in the paper formulation."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from runpy import run_path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hitsr.base.errors import SpecError
from hitsr.models.attention import Attention
from hitsr.models.correlation import Correlation
from hitsr.models.fused.backend import forced
from hitsr.models.fused.cuda.choice import only
from hitsr.models.fused.operators import correlation, window_attention
from hitsr.models.position import averaged_bias, table_bias
from hitsr.specs import network as spec

CHECKS = Path(__file__).parents[2] / "triton_checks.py"


@pytest.fixture(params=["cpu", "torch", "plain", "kernel"])
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """Tiles, PyTorch's operators on two backends, and kernels in the interpreter."""
    if request.param in ("cpu", "torch"):
        with forced(request.param):
            yield request.param
        return
    if request.param == "kernel":
        triton = pytest.importorskip("triton", reason="needs Triton")
        if not triton.knobs.runtime.interpret:
            pytest.skip("needs TRITON_INTERPRET=1, set before Triton is imported")
    checks = run_path(str(CHECKS)) if request.param == "kernel" else {}
    with forced("cuda"), only(request.param), checks.get("checked", nullcontext)():
        yield request.param


def _attention(window: int, shift: int, fold: int, positions: bool) -> Attention:
    torch.manual_seed(0)
    mixer = Attention(16, 4, window, shift, fold, None, "paper", positions)
    if mixer.bias_table is not None:
        torch.nn.init.normal_(mixer.bias_table)
    return mixer


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("positions", [True, False])
@pytest.mark.parametrize(("window", "shift", "fold"), [(4, 0, 1), (8, 4, 1), (8, 4, 2), (8, 0, 2)])
def test_attention_and_its_gradients_are_the_mixers(
    window: int, shift: int, fold: int, positions: bool
):
    mixer = _attention(window, shift, fold, positions)
    x = torch.randn(2, window, 2 * window, 16)
    qkv = mixer.qkv(x).detach().requires_grad_()
    table = mixer.bias_table
    bias = None if table is None else table_bias(table, window // fold, 1)
    found = window_attention(qkv, bias, heads=4, window=window, shift=shift, fold=fold)
    found = F.linear(found, mixer.proj.weight, mixer.proj.bias)
    weight = torch.randn_like(found)
    wanted = [x for x in (qkv, table) if x is not None]
    grads = torch.autograd.grad((found * weight).sum(), wanted)

    given = qkv.detach().requires_grad_()
    mixer.qkv.forward = lambda split: split  # the mixer then takes queries, keys and values
    expected = mixer._paper(given)
    exact = torch.autograd.grad((expected * weight).sum(), [given, *wanted[1:]])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    for a, b in zip(grads, exact, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("positions", ["table", "none"])
@pytest.mark.parametrize(("window", "base"), [(4, 4), (8, 4), (16, 8)])
def test_correlation_and_its_gradients_are_the_mixers(window: int, base: int, positions: str):
    torch.manual_seed(0)
    mixer = Correlation(
        24, spec.Correlation(heads=2, position=positions), window, base, 0, None, "paper"
    )
    for parameter in mixer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    qv = torch.randn(2, window, 2 * window, 24, requires_grad=True)
    bias = None
    if mixer.position is not None:
        bias = averaged_bias(mixer.position(window), mixer.ratio).detach().requires_grad_()

    def run(qv: Tensor) -> Tensor:
        base, proj = mixer.to_base, mixer.proj
        return correlation(
            qv, base.weight, base.bias, bias, proj.weight, proj.bias, heads=2, window=window
        )

    found, expected = run(qv), mixer._paper(qv)
    weight = torch.randn_like(found)
    wanted = [qv, *mixer.to_base.parameters(), *mixer.proj.parameters()]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
    for a, b in zip(
        torch.autograd.grad((found * weight).sum(), wanted),
        torch.autograd.grad((expected * weight).sum(), wanted),
        strict=True,
    ):
        assert (a - b).abs().max() < 1e-5 * b.abs().max()


def test_half_precision_is_that_of_its_products(way: str):
    torch.manual_seed(0)
    qkv = torch.randn(1, 8, 8, 48)
    exact = window_attention(qkv, heads=4, window=8)
    if way == "cpu":
        pytest.skip("tiles are for float32 and float64")
    found = window_attention(qkv.bfloat16(), heads=4, window=8)
    assert found.dtype == torch.bfloat16
    assert (found.float() - exact).abs().max() < 0.03


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_parameters_of_another_type_are_converted(dtype: torch.dtype):
    torch.manual_seed(0)
    features, bias = torch.randn(1, 8, 8, 24), torch.randn(2, 64, 64)
    others = (torch.randn(1, 1), torch.randn(1), bias, torch.randn(24, 24), torch.randn(24))
    given = features.to(dtype)
    for found, expected in (
        (
            window_attention(given, bias, heads=2, window=8),
            window_attention(features, bias, heads=2, window=8),
        ),
        (
            correlation(given, *others, heads=2, window=8),
            correlation(features, *others, heads=2, window=8),
        ),
    ):
        assert found.dtype == dtype
        off = (found.float() - expected).abs().max() / expected.abs().max()
        assert off < (0.03 if dtype == torch.bfloat16 else 1e-5)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.torch.jit:FutureWarning")
def test_both_can_be_traced():  # as fvcore does, which then names what it cannot count
    torch.manual_seed(0)
    bias, base, proj = torch.randn(2, 64, 64), torch.ones(1, 1), torch.randn(12, 12)

    def run(qkv: Tensor) -> Tensor:
        mixed = window_attention(qkv, bias, heads=2, window=8, shift=4)
        return correlation(
            mixed, base, torch.ones(1), None, proj, torch.ones(12), heads=2, window=8
        )

    qkv = torch.randn(1, 16, 16, 36, requires_grad=True)
    torch.testing.assert_close(torch.jit.trace(run, (qkv,))(qkv), run(qkv), rtol=1e-5, atol=1e-4)


BIAS = torch.zeros(4, 16, 16)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"qkv": torch.zeros(1, 9, 8, 48)}, "9x8 pixels are not whole windows of 4x4"),
        ({"qkv": torch.zeros(9, 8, 48)}, r"are \(9, 8, 48\); must be \(batch, height"),
        ({"qkv": torch.zeros(1, 8, 8, 50)}, "50 channels are not c of queries"),
        ({"heads": 5}, "5 heads do not divide 16 channels"),
        ({"fold": 3, "qkv": torch.zeros(1, 8, 8, 11)}, "cells of 3 do not fill windows of 4"),
        ({"shift": 4}, "shift is 4; must be 0 to 3"),
        ({"shift": 2.0}, r"shift is 2\.0; must be 0 to 3"),
        ({"heads": 0}, "heads is 0; must be a whole number of 1 or more"),
        ({"window": (4, 4)}, r"window is \(4, 4\); must be a whole number"),
        ({"fold": 0}, "fold is 0; must be a whole number"),
        ({"bias": BIAS[:2]}, r"bias is \(2, 16, 16\); must be \(4, 16, 16\)"),
        ({"qkv": torch.zeros(0, 8, 8, 48)}, r"are \(0, 8, 8, 48\); must be .* none of them 0"),
        ({"qkv": torch.ones(1, 8, 8, 48).int()}, r"features are torch\.int32; must be"),
        ({"qkv": torch.zeros(1, 8, 8, 48).numpy()}, "features are ndarray; must be"),
    ],
)
def test_attention_says_what_does_not_fit(changes: dict, message: str):
    given = {"qkv": torch.zeros(1, 8, 8, 48), "bias": None, "heads": 4, "window": 4} | changes
    if changes.get("fold") == 3:
        given["heads"] = 9
    with pytest.raises(SpecError, match=message):
        window_attention(given.pop("qkv"), given.pop("bias"), **given)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"qv": torch.zeros(1, 8, 9, 24)}, "8x9 pixels are not whole windows of 8x8"),
        ({"heads": 5}, "24 channels are not queries and values of 5 heads"),
        ({"to_base_weight": torch.zeros(1, 9)}, r"to_base_weight is \(1, 9\); must be \(1, r²\)"),
        ({"to_base_weight": torch.zeros(4)}, r"to_base_weight is \(4,\)"),
        ({"to_base_weight": torch.zeros(1, 0)}, r"to_base_weight is \(1, 0\)"),
        ({"to_base_bias": torch.zeros(4)}, r"to_base_bias is \(4,\); must be \(1,\)"),
        ({"bias": torch.zeros(2, 64, 64)}, r"bias is \(2, 64, 64\); must be \(2, 64, 16\)"),
        ({"proj_weight": torch.zeros(24, 12)}, r"proj_weight is \(24, 12\); must be \(o, 24\)"),
        ({"proj_bias": torch.zeros(9)}, r"proj_bias is \(9,\); must be \(24,\)"),
        ({"proj_bias": None}, r"proj_bias is null; must be \(24,\)"),
    ],
)
def test_correlation_says_what_does_not_fit(changes: dict, message: str):
    given = {
        "qv": torch.zeros(1, 8, 8, 24),
        "to_base_weight": torch.zeros(1, 4),
        "to_base_bias": torch.zeros(1),
        "bias": None,
        "proj_weight": torch.zeros(24, 24),
        "proj_bias": torch.zeros(24),
        "heads": 2,
        "window": 8,
    }
    given |= changes
    names = ("qv", "to_base_weight", "to_base_bias", "bias", "proj_weight", "proj_bias")
    with pytest.raises(SpecError, match=message):
        correlation(*(given[name] for name in names), heads=given["heads"], window=8)
