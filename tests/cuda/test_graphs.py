"""CUDA graphs on a GPU: equal numbers, no stale ones, failures that leave the device usable."""

import threading
from collections.abc import Callable

import pytest
import torch
from packaging.version import Version
from torch import Tensor, nn

import hitsr
from hitsr.runtime.capture_rules import CaptureError
from hitsr.runtime.graphed import MOST, Graphed
from hitsr.runtime.graphs import capture


def _small(gpu: torch.device) -> Graphed:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.GELU(), nn.Conv2d(8, 3, 1))
    return Graphed(layers.to(gpu)).eval()


def _agrees(graphed: Graphed, x: Tensor) -> None:
    with torch.inference_mode():
        expected = graphed.module(x)
        for _ in range(3):
            assert (graphed(x) - expected).abs().max() < 1e-5


@pytest.mark.parametrize("formulation", ["paper", "fused"])
@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_a_network_replayed_gives_the_same(
    name: str, formulation, network: Callable, picture: Callable, gpu: torch.device
):
    plain = network(name, formulation=formulation)
    graphed = network(name, formulation=formulation, graph=True)
    with torch.inference_mode():
        for size in [(64, 64), (37, 50)]:
            batch = picture(*size, batch=3).to(gpu)
            found = [graphed(lr[None]) for lr in batch]  # the first plainly, the others replayed
            for lr, hr in zip(batch, found, strict=True):
                assert (hr - plain(lr[None])).abs().max() < 1e-5
    assert len(graphed.graphs._kept) == 2


@pytest.mark.parametrize("name", ["swinir_light", "hit_sir"])
def test_changed_weights_and_devices_are_noticed(
    name: str, network: Callable, picture: Callable, gpu: torch.device
):
    plain, graphed = network(name), network(name, graph=True)
    lr = picture(40, 24).to(gpu)

    def agree() -> None:
        plain.load_state_dict(graphed.state_dict())
        with torch.inference_mode():
            for _ in range(3):
                assert (graphed(lr) - plain(lr)).abs().max() < 1e-5

    agree()
    for key, parameter in graphed.named_parameters():
        if "bias_table" in key or "position" in key:
            nn.init.normal_(parameter, std=0.1)
    agree()
    graphed.cpu().to(gpu)
    agree()
    with pytest.warns(RuntimeWarning, match="gradients are wanted"):
        graphed(lr).mean().backward()
    torch.optim.Adam(graphed.parameters(), lr=1e-3, fused=True).step()
    agree()


def test_halves_and_autocast_are_those_without_a_graph(
    network: Callable, picture: Callable, gpu: torch.device
):
    lr = picture(64, 64).to(gpu)
    plain, graphed = network("hit_sir"), network("hit_sir", graph=True)
    with torch.inference_mode():
        for _ in range(3):
            with torch.autocast("cuda", torch.bfloat16):
                assert (graphed(lr) - plain(lr)).abs().max() < 1e-2
            assert (graphed(lr) - plain(lr)).abs().max() < 1e-5
        plain.half(), graphed.half()
        for _ in range(3):
            assert (graphed(lr.half()) - plain(lr.half())).abs().max() < 1e-2


def test_memory_is_given_back(gpu: torch.device):
    graphed = _small(gpu)
    before = torch.cuda.memory_allocated(gpu)
    for side in range(64, 64 + 2 * MOST):
        _agrees(graphed, torch.rand(1, 3, side, side, device=gpu))
    assert len(graphed.graphs._kept) == MOST
    graphed.graphs.clear()
    # cuBLAS keeps a workspace for each stream that it was used on.
    assert torch.cuda.memory_allocated(gpu) - before < 2**28


def test_other_streams_and_threads_get_their_own_results(gpu: torch.device):
    graphed, wrong = _small(gpu), []
    _agrees(graphed, torch.rand(1, 3, 64, 64, device=gpu))

    def work(seed: int) -> None:
        with torch.inference_mode(), torch.cuda.stream(torch.cuda.Stream()):
            x = torch.full((1, 3, 64, 64), float(seed), device=gpu)
            expected = graphed.module(x)
            found = [graphed(x) for _ in range(50)]
            wrong.extend(seed for each in found if (each - expected).abs().max() > 1e-5)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


class _Waits(nn.Module):
    """Waits for the GPU, which torch's dispatcher does not see, when it is captured."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.cuda.is_current_stream_capturing():
            torch.cuda.synchronize()
        return 2 * x


@pytest.mark.skipif(
    Version(torch.__version__) < Version("2.13"),
    reason="before 2.13 torch's allocator stays in a capture that failed (pytorch#180395)",
)
def test_a_failed_capture_leaves_the_device_usable(gpu: torch.device):
    x, stream = torch.ones(2, device=gpu), torch.cuda.current_stream(gpu)
    graphed = Graphed(_Waits()).eval()
    with torch.inference_mode():
        graphed(x)
        with pytest.warns(RuntimeWarning, match="runs without a CUDA graph"):
            assert graphed(x).tolist() == [2, 2]
        assert graphed(x).tolist() == [2, 2]
    assert torch.cuda.current_stream(gpu) == stream
    _agrees(_small(gpu), torch.rand(1, 3, 64, 64, device=gpu))


def test_operators_that_wait_or_copy_are_named(gpu: torch.device):
    x = torch.ones(2, device=gpu)
    for function, operator in [
        (lambda x: x * x.sum().item(), "_local_scalar_dense"),
        (lambda x: x + torch.tensor([1.0, 2.0], device=gpu), "."),  # by whichever name
        (lambda x: x + torch.ones(2).to(gpu), "_to_copy"),
        (lambda x: x[[0, 1]], "."),
    ]:
        with pytest.raises(CaptureError, match=operator):
            capture(function, [x])


def test_random_numbers_go_on_as_without_a_graph(gpu: torch.device):
    def function(x: Tensor) -> Tensor:
        return x * torch.rand(2, device=gpu)

    x = torch.ones(2, device=gpu)
    captured = capture(function, [x])
    torch.manual_seed(0)
    expected = [function(x).tolist() for _ in range(3)]
    torch.manual_seed(0)
    assert [captured.replay(x).tolist() for _ in range(3)] == expected


def test_captures_within_and_outside_inference_mode_follow_each_other(gpu: torch.device):
    weight = torch.ones(2, device=gpu, requires_grad=True)

    def step(x: Tensor) -> Tensor:
        weight.grad = None
        (weight * x * torch.rand(2, device=gpu)).sum().backward()
        with torch.no_grad():
            weight.sub_(x)
        return weight.detach()

    with torch.inference_mode():
        captured = capture(lambda x: x + torch.rand(2, device=gpu), [torch.ones(2, device=gpu)])
        captured.replay(torch.ones(2, device=gpu))
    captured = capture(step, [torch.zeros(2, device=gpu)])
    versions = weight._version
    assert captured.replay(torch.ones(2, device=gpu)).tolist() == [0, 0]
    assert captured.replay(torch.ones(2, device=gpu)).tolist() == [-1, -1]
    assert weight._version > versions
