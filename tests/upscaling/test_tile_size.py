import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import hitsr
from hitsr.runtime.free_memory import free_bytes, is_out_of_memory, rooms_of
from hitsr.upscaling import tile_size
from hitsr.upscaling.tile_size import CEILING_BYTES, side_at_hand
from hitsr.upscaling.tiling import smallest

CPU = torch.device("cpu")


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch):
    """Say how much memory is free."""

    def say(free_bytes: int) -> None:
        monkeypatch.setattr(tile_size, "free_bytes", lambda _: free_bytes)

    return say


def _measured(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_a_forward_takes_no_more_than_estimated_and_no_small_part(name: str):
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


def test_a_picture_that_fits_goes_whole(free):
    model = hitsr.create("hit_sir", 2)
    free(10**12)
    assert side_at_hand(model, model, (1020, 700), CPU) is None
    free(10**9)
    assert side_at_hand(model, model, (320, 180), CPU) is None


def test_tiles_take_half_of_what_is_free_and_no_more_than_the_ceiling(free):
    model = hitsr.create("hit_sir", 2)
    sides = []
    for free_now in (2 * 10**9, 2 * CEILING_BYTES, 10**12):
        free(free_now)
        side = side_at_hand(model, model, (2528, 4096), CPU)
        assert side is not None
        assert side**2 * tile_size.estimated_bytes(model.network) <= min(
            free_now // 2, CEILING_BYTES
        )
        sides.append(side)
    assert sides[0] < sides[1] == sides[2]


def test_the_smallest_tile_is_tried_whatever_is_free(free):
    model = hitsr.create("hit_sir", 2)
    free(0)
    assert side_at_hand(model, model, (2528, 4096), CPU) == smallest(model).side


class Hungry(nn.Module):
    """Takes 4000 bytes a pixel."""

    def forward(self, x: Tensor) -> Tensor:
        torch.ones(1000, *x.shape[2:])
        return x


def test_what_an_unknown_network_takes_is_measured(free):
    free(2 * 10**9)
    unknown = Hungry()
    side = side_at_hand(unknown, unknown, (2000, 2000), CPU)
    assert side is not None
    assert 410 < side < 460  # 0.75 GB in 4 kB
    free(0)
    assert side_at_hand(unknown, unknown, (500, 500), CPU) is None


def test_a_network_that_takes_all_there_is_gets_the_smallest_tile():
    class Greedy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.empty(2**58 * len(x))

    greedy = Greedy()
    assert side_at_hand(greedy, greedy, (2000, 2000), CPU) == smallest(greedy).side


def test_every_wording_of_out_of_memory_is_known():
    with pytest.raises(RuntimeError) as refused:
        torch.empty(2**58)
    assert is_out_of_memory(refused.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"))
    assert is_out_of_memory(RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))
    assert not is_out_of_memory(ValueError("out of memory"))


def _group(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)


def test_a_limit_of_a_control_group_above_counts(tmp_path: Path):
    stat = "anon 5\ninactive_file 100\nactive_file 7\n"
    _group(tmp_path / "job", {"memory.max": "1000\n", "memory.current": "400", "memory.stat": stat})
    _group(tmp_path / "job" / "step", {"memory.max": "max\n", "memory.current": "300"})
    assert list(rooms_of("0::/job/step\n", tmp_path)) == [700]


def test_the_limit_of_a_container_is_at_the_mount(tmp_path: Path):
    stat = "total_inactive_file 0\n"
    limits = {"memory.limit_in_bytes": "900", "memory.usage_in_bytes": "200", "memory.stat": stat}
    _group(tmp_path / "memory", limits)
    groups = "5:devices:/\n4:memory:/host/path\n0::/\n"
    assert list(rooms_of(groups, tmp_path)) == [700]


def test_this_machine_says_what_is_free():
    assert 0 < free_bytes(CPU) < 2**50
