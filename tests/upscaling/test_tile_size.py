import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

import hitsr
from hitsr.upscaling import tile_size
from hitsr.upscaling.tile_size import CEILING_BYTES, tile_side_for_memory
from hitsr.upscaling.tiling import smallest_tiling

CPU = torch.device("cpu")


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch):
    """A function that sets how much memory seems to be free."""

    def set_free(free_bytes: int) -> None:
        monkeypatch.setattr(tile_size, "free_bytes", lambda _: free_bytes)

    return set_free


def _measured(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_memory_of_a_forward_is_within_the_estimate(name: str):
    code = f"""
import torch, hitsr
from hitsr.runtime.memory import watching
torch.set_num_threads(1)
model = hitsr.create(hitsr.NETWORKS[{name!r}].patch({{"depths": [6]}}), 2).eval()
lr = torch.rand(1, 3, 224, 224)
with watching(torch.device("cpu")) as memory, torch.inference_mode():
    model(lr)
    print(memory.peak_bytes)
"""
    estimate = tile_size.estimated_bytes(hitsr.NETWORKS[name]) * 224**2
    assert estimate / 4 < int(_measured(code)) < estimate + tile_size._FIXED_BYTES


def test_a_picture_that_fits_needs_no_tiles(free):
    model = hitsr.create("hit_sir", 2)
    free(10**12)
    assert tile_side_for_memory(model, model, (1020, 700), CPU) is None
    free(10**9)
    assert tile_side_for_memory(model, model, (320, 180), CPU) is None


def test_tiles_take_half_of_what_is_free_and_no_more_than_the_ceiling(free):
    model = hitsr.create("hit_sir", 2)
    sides = []
    for free_now in (2 * 10**9, 2 * CEILING_BYTES, 10**12):
        free(free_now)
        side = tile_side_for_memory(model, model, (2528, 4096), CPU)
        assert side is not None
        assert side**2 * tile_size.estimated_bytes(model.network) <= min(
            free_now // 2, CEILING_BYTES
        )
        sides.append(side)
    assert sides[0] < sides[1] == sides[2]


def test_the_smallest_tile_is_tried_even_without_free_memory(free):
    model = hitsr.create("hit_sir", 2)
    free(0)
    assert tile_side_for_memory(model, model, (2528, 4096), CPU) == smallest_tiling(model).side


class Hungry(nn.Module):
    """Allocates 4000 bytes per pixel."""

    def forward(self, x: Tensor) -> Tensor:
        torch.ones(1000, *x.shape[2:])
        return x


def test_the_need_of_an_unknown_network_is_measured(free):
    free(2 * 10**9)
    unknown = Hungry()
    side = tile_side_for_memory(unknown, unknown, (2000, 2000), CPU)
    assert side is not None
    assert 410 < side < 460  # 0.75 GB in 4 kB
    free(0)
    assert tile_side_for_memory(unknown, unknown, (500, 500), CPU) is None


def test_a_network_that_runs_out_of_memory_gets_the_smallest_tile():
    class Greedy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.empty(2**58 * len(x))

    greedy = Greedy()
    assert tile_side_for_memory(greedy, greedy, (2000, 2000), CPU) == smallest_tiling(greedy).side
