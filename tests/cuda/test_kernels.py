"""Triton kernels at the networks' real sizes, beside PyTorch's operators and the paper formulation.

New memory is filled with NaN, so that what a kernel does not write, or reads too far, shows.
"""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

import hitsr
from hitsr.models.fused.cuda.choice import only
from hitsr.models.fused.cuda.kernels import launch
from hitsr.runtime.graphs import capture
from hitsr.runtime.precision import computing, dtype_of
from hitsr.specs.steps import Precision

if not launch.has_triton():
    pytest.skip("needs Triton, of PyTorch's builds for CUDA", allow_module_level=True)

OUTPUT, PATCH = (360, 640), (64, 64)  # LR of 1280x720 at x2; a patch of training
RUNS = 50


@pytest.fixture(autouse=True)
def _new_memory_is_nan(gpu: torch.device) -> Iterator[None]:
    if torch.cuda.get_device_capability(gpu) < (8, 0):
        pytest.skip("kernels need compute capability 8.0")
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the kernels that were launched."""
    names: list[str] = []
    run = launch._run

    def noted(kernel, *arguments) -> None:
        names.append(kernel.__name__)
        run(kernel, *arguments)

    monkeypatch.setattr(launch, "_run", noted)
    return names


def _all(model: nn.Module, lr: Tensor) -> list[Tensor]:
    """The loss of a training step, and the gradients of the picture and of all parameters."""
    lr = lr.clone().requires_grad_()
    loss = model.train()(lr).float().square().mean()
    grads = torch.autograd.grad(loss, [lr, *model.parameters()])
    model.eval()
    return [loss.detach(), *grads]


def _without_chance(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if hasattr(module, "drop_rate"):
            module.drop_rate = 0.0
    return model


@pytest.mark.parametrize("size", [OUTPUT, (131, 67)], ids=str)
@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_results_are_those_of_operators_and_of_the_paper(
    name: str, size, network: Callable, picture: Callable, gpu: torch.device, launches: list[str]
):
    model, paper, lr = network(name), network(name, formulation="paper"), picture(*size).to(gpu)
    with torch.inference_mode():
        with only("plain"):
            plain = model(lr)
        assert not launches
        with only("kernel"):
            found = model(lr)
        assert len(launches) >= 2 * len(model.groups)
        assert (found - plain).abs().max() < 1e-5
        assert (found - paper(lr)).abs().max() < 1e-5


@pytest.mark.parametrize("precision", ["tf32", "float16", "bfloat16", "autocast"])
@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_lower_precision_stays_near_at_the_size_of_outputs(
    name: str, precision: Precision, network: Callable, picture: Callable, gpu: torch.device
):
    model, lr, dtype = network(name), picture(*OUTPUT).to(gpu), dtype_of(precision)
    with torch.inference_mode():
        with only("plain"):
            exact = model(lr).double()
        with only("kernel"), computing(precision, gpu):
            error = model.to(dtype)(lr.to(dtype)).double() - exact
    # Random weights rounded to 8 bits cost as much (test_networks).
    psnr_db = float(-10 * error.square().mean().log10())
    assert psnr_db > (45 if precision in ("tf32", "float16") else 40)


@pytest.mark.parametrize("precision", ["float32", "autocast"])
@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_gradients_of_training_are_those_of_operators(
    name: str, precision: Precision, network: Callable, picture: Callable, gpu: torch.device
):
    model, lr = _without_chance(network(name)), picture(*PATCH, batch=4).to(gpu)
    with only("plain"):
        expected = _all(model, lr)
        with computing(precision, gpu):
            plain = _all(model, lr)
    with only("kernel"), computing(precision, gpu):
        found = _all(model, lr)
    names = ["loss", "lr", *dict(model.named_parameters())]
    for key, one, other, exact in zip(names, found, plain, expected, strict=True):
        rounding = 2 * (other - exact).norm()  # of bfloat16 products; none in float32
        assert (one - exact).norm() < rounding + 1e-3 * exact.norm().clamp(min=1e-6), key


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_results_repeat_to_the_last_bit_one_by_one_and_in_a_graph(
    name: str, precision: Precision, network: Callable, picture: Callable, gpu: torch.device
):
    dtype = dtype_of(precision)
    model, lr = network(name).to(dtype), picture(*PATCH, batch=2).to(gpu, dtype)
    noise = torch.Generator().manual_seed(0)
    with torch.inference_mode(), only("kernel"):
        expected = model(lr)
        assert expected.isfinite().all()
        for _ in range(RUNS):
            # Elsewhere in memory each time.
            _other = torch.empty(int(torch.randint(2**22, (), generator=noise)), device=gpu)
            assert torch.equal(model(lr), expected)
        captured = capture(model, [lr])
        for _ in range(RUNS):
            assert torch.equal(captured.replay(lr), expected)
    torch.cuda.synchronize(gpu)  # an access beyond the memory shows here at the latest


@pytest.mark.parametrize("precision", ["float32", "autocast"])
@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_gradients_repeat_to_the_last_bit(
    name: str, precision: Precision, network: Callable, picture: Callable, gpu: torch.device
):
    model, lr = _without_chance(network(name)), picture(*PATCH, batch=2).to(gpu)
    with only("kernel"), computing(precision, gpu):
        expected = _all(model, lr)
        assert all(each.isfinite().all() for each in expected)
        for _ in range(RUNS // 5):
            assert all(map(torch.equal, _all(model, lr), expected))
    torch.cuda.synchronize(gpu)


@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_networks_in_channels_last_give_the_same(
    name: str, network: Callable, picture: Callable, gpu: torch.device
):
    model, lr, last = network(name), picture(70, 41).to(gpu), torch.channels_last
    with torch.inference_mode(), only("kernel"):
        expected = model(lr)
        found = model.to(memory_format=last)(lr.to(memory_format=last))
    assert (found - expected).abs().max() < 1e-5


@pytest.mark.parametrize("name", ["swinir_light", "hit_sng"])
def test_another_gpu_gives_the_same(name: str, network: Callable, picture: Callable):
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    model, lr = network(name), picture(*PATCH)
    with torch.inference_mode(), only("kernel"):
        first, second = (model.to(place)(lr.to(place)).cpu() for place in ("cuda:0", "cuda:1"))
    assert (first - second).abs().max() < 1e-5
