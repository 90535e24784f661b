from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hitsr.models.fused.cpu import products
from hitsr.models.fused.cpu.products import linear, linear_tokens_last
from hitsr.runtime import trials

pytestmark = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="PyTorch has no oneDNN here"
)
SHAPES = [(4096, 60), (1, 67, 61, 60), (2, 16, 40, 120)]


@pytest.fixture(autouse=True)
def _nothing_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(trials, "_chosen", {})
    monkeypatch.setenv("HITSR_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def _convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    """All products are convolutions, whatever is faster."""
    monkeypatch.setattr(products, "_wall", lambda *_: 1.0)
    monkeypatch.setattr(products, "_LEAST_WORK", 1)


def _layer(shape: tuple[int, ...], after: int = 90) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(shape), torch.randn(after, shape[-1]) / 8, torch.randn(after)


@pytest.mark.usefixtures("_convolutions")
@pytest.mark.parametrize("shape", SHAPES)
def test_a_convolution_is_the_linear_layer(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch):
    x, weight, bias = _layer(shape)
    expected = F.linear(x, weight, bias)
    monkeypatch.setattr(F, "linear", None)
    for given in (x, x.mT.contiguous().mT):
        with torch.inference_mode():
            found = linear(given, weight, bias)
        assert found.is_contiguous()
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    without = linear(x, weight, None)
    torch.testing.assert_close(without, expected - bias, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("_convolutions")
@pytest.mark.parametrize("shape", [(4096, 60), (9000, 24)])
@pytest.mark.parametrize("after", [180, 90, 7])
def test_the_transposed_result_is_contiguous(
    shape: tuple[int, int], after: int, monkeypatch: pytest.MonkeyPatch
):
    x, weight, bias = _layer(shape, after)
    expected = F.linear(x, weight, bias).t()
    monkeypatch.setattr(torch, "addmm", None)
    for gradients in (False, True):
        with torch.set_grad_enabled(gradients):
            found = linear_tokens_last(x, weight, bias)
        assert found.is_contiguous()
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("_convolutions")
@pytest.mark.parametrize("tokens_last", [False, True])
def test_gradients_are_those_of_the_linear_layer(tokens_last: bool):
    inputs = [each.requires_grad_() for each in _layer((2048, 60))]
    found = (linear_tokens_last if tokens_last else linear)(*inputs)
    expected = F.linear(*inputs)
    if tokens_last:
        expected = expected.t()
    weights = torch.randn_like(expected)
    for a, b in zip(
        torch.autograd.grad(found, inputs, weights), torch.autograd.grad(expected, inputs, weights)
    ):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-4)  # sums of 2048


@pytest.mark.usefixtures("_convolutions")
def test_of_a_leaf_without_gradients_there_is_none():
    x, weight, bias = _layer((2048, 60))
    linear(x.requires_grad_(), weight, bias).sum().backward()
    torch.testing.assert_close(x.grad, weight.sum(0).expand_as(x), rtol=0, atol=1e-5)
    assert weight.grad is bias.grad is None


@pytest.fixture
def _matrix_products_are_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    milliseconds = iter([3.0, 2.0] * 4)
    monkeypatch.setattr(trials, "_time", lambda *_: next(milliseconds))


@pytest.mark.usefixtures("_matrix_products_are_faster")
def test_the_faster_way_is_chosen_once_for_all_layers_and_named():
    for layer in (_layer((4096, 60)), _layer((8192, 60), 120)):
        with torch.inference_mode():
            linear(*layer)
    threads = torch.get_num_threads()
    words = f"{threads} thread{'s' * (threads > 1)}, 60 channels, float32, 4096 rows or more"
    assert trials._chosen
    assert {asked.words: way for asked, way in trials._chosen.items()} == {
        f"linear layer, {words}": "matrix product"
    }


@pytest.fixture
def _deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("_matrix_products_are_faster", "_deterministic")
def test_deterministic_training_repeats_its_bits_without_a_trial(monkeypatch: pytest.MonkeyPatch):
    inputs = [each.requires_grad_() for each in _layer((65536, 60))]
    monkeypatch.setattr(F, "linear", None)
    first, second = (torch.autograd.grad(linear(*inputs).sum(), inputs) for _ in range(2))
    assert all(map(torch.equal, first, second))
    assert not trials._chosen


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes_and_sizes_are_matrix_products(dtype: torch.dtype):
    layer = [each.to(dtype) for each in _layer((8192, 60))]
    assert torch.equal(linear(*layer), F.linear(*layer))
    for shape in ((64, 60), (65537, 60)):  # a prime number of tokens
        layer = _layer(shape)
        assert torch.equal(linear(*layer), F.linear(*layer))
    assert not trials._chosen
