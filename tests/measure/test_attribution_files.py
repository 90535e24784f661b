import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hitsr.base.errors import DataError
from hitsr.data.images import Picture, write_png
from hitsr.measure import attribution_files
from hitsr.measure.attribution_files import WindowTask, attribute
from hitsr.records import AttributionSettings

FEW = AttributionSettings(steps=3)
PLENTY = 2**40  # bytes: all windows share a batch
KILLED = """
import os, sys, time
from pathlib import Path
import torch
from torch.nn import functional as F
from hitsr.measure.attribution_files import WindowTask, attribute
from hitsr.records import AttributionSettings

out = Path(sys.argv[1])

class Killed(torch.nn.Module):
    batches = 0

    def forward(self, x):
        self.batches += torch.is_grad_enabled()
        if self.batches == 6:  # steps, one at a time: two windows are mapped, and may be written
            limit = time.monotonic() + 60
            while len(list(out.glob("*.png"))) < 2 and time.monotonic() < limit:
                time.sleep(0.01)
            os.kill(os.getpid(), 9)
        return F.interpolate(x**2, scale_factor=2, mode="bicubic")

tasks = [WindowTask(path.stem, path, (4, 4, 8)) for path in sorted(out.parent.glob("*.png"))]
settings = AttributionSettings(steps=2)
attribute(Killed(), tasks, 2, out, settings, memory_bytes=1, quiet=True)
"""


class Squared(nn.Module):
    """Upscales the square of a picture by 2; notes how many pictures went through it."""

    def __init__(self) -> None:
        super().__init__()
        self.batches = list[int]()

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            self.batches.append(len(x))
        return F.interpolate(x**2, scale_factor=2, mode="bicubic")


def noise(height: int, width: int) -> Picture:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


def tasks_in(folder: Path, pictures: dict[str, Picture]) -> list[WindowTask]:
    for name, picture in pictures.items():
        write_png(folder / f"{name}.png", picture)
    return [WindowTask(name, folder / f"{name}.png", side=8) for name in pictures]


MIXED = {
    "a": noise(16, 20),
    "b": noise(16, 20)[::-1],
    "flat": np.full((16, 20, 3), 99, dtype=np.uint8),
    "c": noise(20, 16),
    "tiny": noise(3, 3),
    "d": noise(16, 20),
}


def test_maps_in_batches_are_those_one_by_one(tmp_path: Path):
    tasks = tasks_in(tmp_path, MIXED)
    model = Squared()
    settings = {"settings": FEW, "refine": True, "quiet": True}
    alone = [
        attribute(model, [task], 2, tmp_path / "alone", memory_bytes=1, **settings)[0][0]
        for task in tasks
        if task.name not in ("flat", "tiny")
    ]
    model.batches.clear()
    found, left_out = attribute(
        model, tasks, 2, tmp_path / "batches", memory_bytes=PLENTY, **settings
    )
    assert max(model.batches) > 3
    assert [each.picture for each in left_out] == ["flat", "tiny"]
    assert [each.picture for each in found] == ["a", "b", "c", "d"]
    for one, other in zip(found, alone, strict=True):
        assert one.diffusion_index == pytest.approx(other.diffusion_index, rel=1e-5)
        assert one.refined is not None
        assert one.refined.steps == other.refined.steps
        batched = np.load(tmp_path / "batches" / one.channels)
        single = np.load(tmp_path / "alone" / other.channels)
        np.testing.assert_allclose(batched, single, rtol=0, atol=1e-6 * np.abs(single).max())
    assert [each.batch for each in found[:2]] == [8, 8]
    assert [each.batch for each in alone] == [1, 1, 1, 1]


def test_maps_are_written_while_later_ones_are_computed_and_outlast_a_kill(tmp_path: Path):
    tasks_in(tmp_path, {name: noise(12, 12) for name in "abcd"})
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "lam"], timeout=300)
    assert done.returncode == -9
    written = sorted(path.name for path in (tmp_path / "lam").iterdir())
    assert written == ["a.4-4-8.npy", "a.4-4-8.png", "b.4-4-8.npy", "b.4-4-8.png"]


def test_a_full_disk_ends_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(attribution_files, "write_png", full)
    tasks = tasks_in(tmp_path, {"a": noise(12, 12)})
    with pytest.raises(OSError, match="No space left"):
        attribute(Squared(), tasks, 2, tmp_path / "lam", FEW, quiet=True)


def test_all_pictures_that_cannot_be_read_are_named_before_the_network_runs(tmp_path: Path):
    tasks = tasks_in(tmp_path, {name: noise(12, 12) for name in "abc"})
    for name in "bc":
        (tmp_path / f"{name}.png").write_bytes(b"damaged")
    model = Squared()
    with pytest.raises(DataError, match=r"(?s)b\.png: .*\n.*c\.png: "):
        attribute(model, tasks, 2, tmp_path / "lam", FEW, quiet=True)
    assert not model.batches
