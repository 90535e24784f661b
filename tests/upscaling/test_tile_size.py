import math
import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

import hitsr
from hitsr.upscaling import tile_size
from hitsr.upscaling.tile_size import (
    CEILING_BYTES,
    batch_for_memory,
    picture_bytes,
    tile_side_for_memory,
)
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


TWO_STAGE = {"upsampler": "two_stage"}


@pytest.mark.parametrize(
    ("name", "changes", "scale", "size", "measured_mb"),
    [
        # Peaks of networks with one group of six blocks, on one CPU thread.
        ("hit_sir", {}, 2, (8, 22_000), 2546),
        ("hit_sir", {}, 4, (40, 9_000), 1490),
        ("hit_srf", {}, 2, (1, 20_000), 2265),
        ("hit_sng", {}, 2, (8, 22_000), 3734),
        ("swinir_light", {}, 2, (1, 65_535), 1825),
        ("swinir_light", {"windows.base": 16}, 2, (16, 16_000), 1259),
        ("swinir_ng", {"padding": "mixer"}, 2, (3, 30_000), 1044),
        ("srformer_light", {}, 2, (8, 40_000), 1906),
        ("swinir_light", TWO_STAGE, 4, (512, 400), 2052),
        ("hit_sir", TWO_STAGE, 3, (400, 400), 1000),
    ],
)  # fmt: skip
def test_padding_and_upsampler_are_estimated_as_measured(
    name: str, changes: dict[str, object], scale: int, size: tuple[int, int], measured_mb: int
):
    network = hitsr.NETWORKS[name]
    network = network.patch(changes) if changes else network
    estimate = tile_size.picture_bytes(network, scale, size)
    assert 0.7 < estimate / (measured_mb * 1e6) < 1.5


def test_a_thin_picture_is_estimated_alike_whichever_way_it_lies():
    for network in hitsr.NETWORKS.values():
        lying, upright = (tile_size.picture_bytes(network, 2, s) for s in ((8, 999), (999, 8)))
        assert lying == upright


def test_wider_samples_need_as_much_more():
    network = hitsr.NETWORKS["hit_sir"]
    single, double = (tile_size.picture_bytes(network, 2, (8, 9000), size) for size in (4, 8))
    fixed = tile_size._FIXED_BYTES
    assert double - fixed == 2 * (single - fixed)


@pytest.mark.parametrize("name", ["hit_sir", "hit_sng", "hit_srf"])
@pytest.mark.parametrize("size", [(8, 65_535), (65_535, 8), (1, 65_535)])
def test_thin_pictures_go_through_the_tiles_of_others_if_their_padding_does_not_fit(
    free, name: str, size: tuple[int, int]
):
    free(10**12)
    model = hitsr.create(name, 2)
    assert tile_size.estimated_bytes(model.network) * math.prod(size) < CEILING_BYTES
    side = tile_side_for_memory(model, model, size, CPU)
    assert side == tile_side_for_memory(model, model, (4000, 4000), CPU)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (8, 4000), (4000, 8)])
def test_padding_that_fits_needs_no_tiles(free, size: tuple[int, int]):
    free(10**12)
    for name in hitsr.NETWORKS:
        model = hitsr.create(name, 2)
        assert tile_side_for_memory(model, model, size, CPU) is None


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


class Padded(nn.Module):
    """Allocates 4000 bytes per pixel of whole windows of 64; keeps the sizes that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes = list[tuple[int, ...]]()

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(tuple(x.shape[2:]))
        torch.ones(1000, *(-(-side // 64) * 64 for side in x.shape[2:]))
        return x


@pytest.mark.parametrize("size", [(8, 30_000), (30_000, 8)])
def test_the_padding_of_an_unknown_network_is_measured_on_thin_noise(free, size: tuple[int, int]):
    free(2 * 10**9)
    unknown = Padded()
    assert tile_side_for_memory(unknown, unknown, (8, 1000), CPU) is None
    side = tile_side_for_memory(unknown, unknown, size, CPU)
    assert unknown.sizes == [tuple(min(each, 8192) for each in size)]
    assert side is not None
    assert 140 < side < 165  # 0.75 GB in 32 kB


def test_a_network_that_runs_out_of_memory_gets_the_smallest_tile():
    class Greedy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.empty(2**58 * len(x))

    greedy = Greedy()
    assert tile_side_for_memory(greedy, greedy, (2000, 2000), CPU) == smallest_tiling(greedy).side


CUDA = torch.device("cuda")


def test_a_batch_needs_no_more_than_a_tile_may(free):
    model = hitsr.create("hit_sir", 2)
    free(80 * 10**9)
    size = (128, 192)
    needed = picture_bytes(model.network, 2, size)
    most = batch_for_memory(model, model, size, CUDA)
    assert 10 < most < 200
    of_pictures = needed - tile_size._FIXED_BYTES
    assert most * of_pictures <= CEILING_BYTES - tile_size._FIXED_BYTES < (most + 1) * of_pictures
    assert batch_for_memory(model.half(), model, size, CUDA) > 1.9 * most
    assert batch_for_memory(model, model, (1000, 1000), CUDA) == 1
    free(0)
    assert batch_for_memory(model, model, size, CUDA) == 1


def test_a_batch_of_an_unknown_network_is_measured(free, monkeypatch: pytest.MonkeyPatch):
    free(4 * 10**9)
    monkeypatch.setattr(tile_size, "measured_bytes", lambda *_: 1000)
    unknown = nn.Upsample(scale_factor=2)
    assert batch_for_memory(unknown, unknown, (100, 500), CUDA) == (2 * 10**9 - 25 * 10**7) // 5e7


def test_a_cpu_and_a_compiled_network_take_one_picture_at_a_time(free):
    free(80 * 10**9)
    model = hitsr.create("hit_sir", 2)
    assert batch_for_memory(model, model, (64, 64), CPU) == 1
    model.compile()
    assert batch_for_memory(model, model, (64, 64), CUDA) == 1
