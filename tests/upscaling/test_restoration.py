from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hitsr.base.errors import DataError
from hitsr.data.bicubic import imresize
from hitsr.data.images import Picture, read_image, write_png
from hitsr.upscaling.controls import restore_control
from hitsr.upscaling.inference import UpscaleOptions, upscale
from hitsr.upscaling.restoration import restore


class Nearest(nn.Module):
    """Upscales by 2 by repeating pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2.0) * self.gain


class Greedy(Nearest):
    """Runs out of memory on every picture."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.empty(2**58 * len(x))


class Slanted(nn.Module):
    """Upscales by 2 with a convolution whose result depends on the picture's orientation."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 12, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(x), 2)


def _picture(height: int, width: int) -> Picture:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, (height, width) in {"a": (4, 6), "b": (5, 5)}.items():
        write_png(tmp_path / "HR" / f"{name}.png", _picture(2 * height + 1, 2 * width))
        write_png(tmp_path / "LR_bicubic" / "X2" / f"{name}x2.png", _picture(height, width))
    return tmp_path


def test_every_pair_is_restored_under_its_name(folder: Path, tmp_path: Path):
    written = restore(Nearest(), folder, 2, tmp_path / "sr", quiet=True)
    assert [path.name for path in written] == ["a.png", "b.png"]
    assert np.array_equal(read_image(written[0]), _picture(4, 6).repeat(2, 0).repeat(2, 1))


def test_restore_takes_options(folder: Path, tmp_path: Path):
    model = Slanted()
    written = restore(model, folder, 2, tmp_path / "sr", UpscaleOptions(0, True), quiet=True)
    expected = upscale(model, _picture(4, 6), self_ensemble=True)
    assert np.array_equal(read_image(written[0]), expected)


def test_a_picture_too_large_for_memory_is_named(folder: Path, tmp_path: Path):
    with pytest.raises(DataError, match=r"ax2\.png: 6x4 needs more memory"):
        restore(Greedy(), folder, 2, tmp_path / "sr", quiet=True)


def test_the_control_is_matlabs_bicubic(folder: Path, tmp_path: Path):
    written = restore_control("bicubic", folder, 2, tmp_path / "sr", quiet=True)
    assert np.array_equal(read_image(written[1]), imresize(_picture(5, 5), 2))


def test_a_missing_lr_is_an_error(folder: Path, tmp_path: Path):
    (folder / "LR_bicubic" / "X2" / "ax2.png").unlink()
    with pytest.raises(DataError, match="ax2"):
        restore(Nearest(), folder, 2, tmp_path / "sr", quiet=True)


def test_batches_restore_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sizes = [(4, 6), (4, 6), (4, 6), (5, 5), (4, 6)]
    for i, (height, width) in enumerate(sizes):
        write_png(tmp_path / "HR" / f"{i}.png", _picture(2 * height, 2 * width))
        lr = np.roll(_picture(height, width), i)
        write_png(tmp_path / "LR_bicubic" / "X2" / f"{i}x2.png", lr)
    batches: list[int] = []
    model = Slanted()
    model.conv.register_forward_hook(lambda _model, x, _y: batches.append(len(x[0])))
    alone = restore(model, tmp_path, 2, tmp_path / "alone", quiet=True)
    assert batches == [1] * 5
    monkeypatch.setattr("hitsr.upscaling.inference.batch_for_memory", lambda *_: 2)
    together = restore(model, tmp_path, 2, tmp_path / "together", quiet=True)
    assert batches[5:] == [2, 1, 1, 1]
    for one, other in zip(alone, together, strict=True):
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("batch", [1, 3])
def test_pictures_before_a_bad_one_are_written(
    folder: Path, tmp_path: Path, batch: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("hitsr.upscaling.inference.batch_for_memory", lambda *_: batch)
    (folder / "LR_bicubic" / "X2" / "bx2.png").write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"bx2\.png: truncated or damaged"):
        restore(Nearest(), folder, 2, tmp_path / "sr", quiet=True)
    assert [path.name for path in (tmp_path / "sr").iterdir()] == ["a.png"]
