import time

import pytest
import torch
from torch import Tensor, nn

from hitsr.measure.latency import Latency, measure

CPU = torch.device("cpu")


class Sleeper(nn.Module):
    """Sleeps 10 ms less at every forward, from 50 ms on, and keeps what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        assert not self.training
        assert torch.is_inference_mode_enabled()
        time.sleep(max(0, 50 - 10 * len(self.seen)) / 1000)
        self.seen.append(x)
        return x


def _measure(model: nn.Module, *, warmup: int = 0, samples: int = 2) -> Latency:
    return measure(model, (17, 9), CPU, warmup=warmup, samples=samples, quiet=True)


def test_keeps_every_sample_but_the_warm_up():
    model = Sleeper()
    found = _measure(model, warmup=2, samples=2)
    assert len(model.seen) == 4
    assert found.samples_ms[0] == pytest.approx(30, abs=9)
    assert found.samples_ms[1] == pytest.approx(20, abs=9)
    assert (found.clock, found.memory_kind) == ("wall", "resident_set")


def test_sees_one_picture_of_noise_the_same_every_time():
    first, second = Sleeper(), Sleeper()
    _measure(first), _measure(second)
    assert first.seen[0].shape == (1, 3, 9, 17)
    assert 0 <= first.seen[0].min() < first.seen[0].max() <= 1
    assert torch.equal(first.seen[0], second.seen[1])


def test_peak_memory_is_that_of_the_forward():
    class Hungry(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.new_ones(64 * 2**20)[:1] + x.mean()

    assert 250 <= _measure(Hungry()).peak_memory_bytes / 2**20 < 320


def test_no_samples_is_an_error():
    with pytest.raises(ValueError, match="1 sample or more"):
        _measure(Sleeper(), samples=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_is_timed_by_its_events_and_watched_by_its_allocator():
    conv = nn.Conv2d(3, 64, 3, padding=1)
    found = measure(conv, (512, 512), torch.device("cuda", 0), warmup=3, samples=5, quiet=True)
    assert (found.clock, found.memory_kind) == ("cuda_events", "cuda_allocator")
    assert all(0 < sample < 1000 for sample in found.samples_ms)
    assert found.peak_memory_bytes >= 64 * 512 * 512 * 4
