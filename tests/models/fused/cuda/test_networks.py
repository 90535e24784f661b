"""Networks and their mixers in the backend for CUDA devices, beside the paper formulation."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import hitsr
from hitsr.models.fused.backend import forced

pytestmark = pytest.mark.usefixtures("on_cuda")

NOT_KERNELS = {"aten::_unsafe_view", "aten::detach", "aten::empty", "aten::empty_like"}


def _both(name: str) -> tuple[nn.Module, nn.Module]:
    """One group of a network in both formulations, with weights that are not near zero."""
    torch.manual_seed(0)
    network = hitsr.NETWORKS[name].patch({"depths": [6], "width": 24})
    paper, fused = (hitsr.create(network, 2, formulation=way) for way in ("paper", "fused"))
    for parameter in paper.parameters():
        nn.init.normal_(parameter, std=0.1)
    fused.load_state_dict(paper.state_dict())
    return paper.eval(), fused.eval()


@pytest.mark.parametrize("size", [(1, 32, 48), (2, 21, 70)], ids=str)
@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_networks_are_the_papers(name: str, size: tuple[int, int, int]):
    paper, fused = _both(name)
    x = torch.rand(size[0], 3, *size[1:])
    with torch.no_grad():
        expected = paper(x)
        for _ in range(2):  # the second time with values from the caches
            assert (fused(x) - expected).abs().max() < 1e-5 * max(1, expected.abs().max())


@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_gradients_of_networks_are_the_papers(name: str):
    paper, fused = (model.double() for model in _both(name))
    x = torch.rand(1, 3, 18, 33, dtype=torch.float64)
    for model in (paper, fused):
        model(x).square().mean().backward()
    for a, b in zip(paper.parameters(), fused.parameters(), strict=True):
        torch.testing.assert_close(b.grad, a.grad, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("positions", [False, True])
@pytest.mark.parametrize(
    ("window", "shift", "fold"),
    [(4, 0, 1), (4, 2, 1), (4, 0, 2), (4, 2, 2), (8, 4, 2), (3, 1, 1), (2, 1, 1)],
)
def test_attention_is_the_papers(
    window, shift, fold, positions, attention: Callable, outputs_agree: Callable
):
    make = partial(attention, window=window, shift=shift, fold=fold, positions=positions)
    sizes = [(2, rows * window, columns * window, 16) for rows, columns in [(1, 1), (1, 3), (3, 2)]]
    outputs_agree(make, [torch.randn(size, dtype=torch.float64) for size in sizes], 1e-10)


@pytest.mark.parametrize(("window", "shift", "fold"), [(4, 2, 1), (4, 2, 2), (3, 1, 1)])
def test_gradients_of_attention_are_the_papers(
    window, shift, fold, attention: Callable, gradients_agree: Callable
):
    make = partial(attention, window=window, shift=shift, fold=fold, context=window == 4)
    gradients_agree(make, torch.randn(2, 2 * window, 4 * window, 16, dtype=torch.float64))


@pytest.mark.parametrize("changes", [{}, {"softmax": True}, {"position": "none"}], ids=str)
def test_correlation_with_context_is_the_papers(
    changes, correlation: Callable, outputs_agree: Callable, gradients_agree: Callable
):
    make = partial(correlation, window=4, base=2, changes=changes, shift=2, context=True)
    x = torch.randn(2, 8, 16, 12, dtype=torch.float64)
    outputs_agree(make, [x], 1e-10)
    gradients_agree(make, x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_half_precision_is_float32_to_45_db(name: str, dtype: torch.dtype):
    torch.manual_seed(0)
    model = hitsr.create(hitsr.NETWORKS[name].patch({"depths": [6]}), 2).eval()
    x = torch.rand(1, 3, 32, 40)
    with torch.inference_mode():
        expected = model(x)
        found = model.to(dtype)(x.to(dtype))
    assert found.dtype == dtype
    assert (found.float() - expected).square().mean() < 10**-4.5


@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_autocast_computes_in_float32_between_products(name: str):
    """As on CUDA, where autocast has norms in float32."""
    torch.manual_seed(0)
    model = hitsr.create(hitsr.NETWORKS[name].patch({"depths": [6]}), 2).eval()
    seen: set[torch.dtype] = set()
    for block in model.groups[0].blocks:
        block.register_forward_hook(lambda _, __, out: seen.add(out.dtype))
    x = torch.rand(1, 3, 32, 40)
    with torch.inference_mode():
        expected = model(x)
        with torch.autocast("cpu", torch.bfloat16):
            found = model(x)
    assert seen == {torch.float32}
    assert 0 < (found.float() - expected).square().mean() < 10**-4.5


class _Kernels(TorchDispatchMode):
    """Counts operators that compute or copy; views and empty tensors launch nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if not func.is_view and func._schema.name not in NOT_KERNELS:
            self.count += 1
        return func(*args, **(kwargs or {}))


def _kernels(model: nn.Module, x: Tensor) -> int:
    """Kernels of a forward with values from the caches."""
    with torch.no_grad():
        model(x)
        with _Kernels() as kernels:
            model(x)
    return kernels.count


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("swinir_light", 30),
        ("swinir_ng", 70),
        ("srformer_light", 40),
        ("hit_sir", 70),
        ("hit_sng", 115),
        ("hit_srf", 80),
    ],
)
def test_two_blocks_launch_few_kernels(name: str, most: int, request: pytest.FixtureRequest):
    """One with a shift and one without, or windows of 8 and 16; norms as PyTorch has them."""
    if request.node.callspec.params["on_cuda"] != "first":
        pytest.skip("the other way has more kernels")
    ratios = [1, 2] if name.startswith("hit") else [1, 1]
    network = hitsr.NETWORKS[name].patch({"depths": [2], "windows.ratios": ratios})
    torch.manual_seed(0)
    paper, fused = (hitsr.create(network, 2, formulation=way).eval() for way in ("paper", "fused"))
    blocks, x = fused.groups[0].blocks, torch.randn(1, 64, 96, network.width)
    found = _kernels(blocks, x)
    assert found <= most
    with forced("torch"):
        assert found <= _kernels(blocks, x)
    assert 2 * found < _kernels(paper.groups[0].blocks, x) * 1.2
