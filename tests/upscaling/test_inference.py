from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hitsr.base.errors import DataError, WeightsError
from hitsr.data.bicubic import imresize
from hitsr.data.images import Picture, read_image, write_png
from hitsr.runtime.tensors import to_batch, to_picture
from hitsr.upscaling.inference import (
    Manner,
    restore,
    restore_control,
    upscale,
)


class Nearest(nn.Module):
    """Repeats every pixel, times a gain; doubles as a model that minds its mode."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(self, x: Tensor) -> Tensor:
        assert not self.training
        return (x * self.gain).repeat_interleave(2, 2).repeat_interleave(2, 3)


def _picture(height: int, width: int) -> Picture:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_every_sample_survives_the_way_to_a_batch_and_back():
    picture = np.arange(768, dtype=np.uint16).reshape(16, 16, 3).astype(np.uint8)
    batch = to_batch(picture)
    assert (batch.min(), batch.max()) == (0, 1)
    assert np.array_equal(to_picture(batch), picture)


def test_upscales_rounds_and_clamps():
    lr = _picture(5, 7)
    sr = upscale(Nearest(1.3), lr)
    exact = np.clip(lr * 1.3, 0, 255).repeat(2, 0).repeat(2, 1)
    assert sr.dtype == np.uint8
    assert sr.shape == (10, 14, 3)
    assert np.abs(sr - exact).max() <= 0.5 + 1e-4


def test_a_model_in_training_goes_back_to_training():
    model = Nearest().train()
    upscale(model, _picture(3, 3))
    assert model.training
    upscale(model.eval(), _picture(3, 3))
    assert not model.training


def test_diverged_weights_make_no_picture():
    with pytest.raises(WeightsError, match="not finite"):
        upscale(Nearest(float("nan")), _picture(3, 3))


def test_tiles_make_the_same_picture(capsys: pytest.CaptureFixture[str]):
    lr = _picture(150, 310)
    assert np.array_equal(upscale(Nearest(), lr, tile=128), upscale(Nearest(), lr, tile=0))
    told = capsys.readouterr().err
    assert told.startswith("tiles of 128: 8/8 tile")


class Slanted(nn.Module):
    """Doubles by a network that treats directions differently."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 12, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(x), 2)


@pytest.mark.parametrize("tile", [0, 128])
def test_the_mean_over_symmetries_turns_with_the_picture(tile: int):
    lr, model = _picture(150, 140), Slanted()

    def turned(self_ensemble: bool) -> int:
        """The largest difference between turning before and after."""
        made, then = (
            upscale(model, each, tile=tile, self_ensemble=self_ensemble, quiet=True).astype(int)
            for each in (lr, np.ascontiguousarray(np.rot90(lr)))
        )
        return int(np.abs(np.rot90(made) - then).max())

    assert turned(self_ensemble=False) > 50
    assert turned(self_ensemble=True) <= 1  # additions in another order may round otherwise


class Confined(Nearest):
    """Refuses pictures of more than some pixels, as PyTorch does where memory runs out."""

    def __init__(self, most: int, error: str = "DefaultCPUAllocator: not enough memory") -> None:
        super().__init__()
        self.most, self.error, self.sides = most, error, list[int]()

    def forward(self, x: Tensor) -> Tensor:
        self.sides.append(max(x.shape[2:]))
        if x.shape[2] * x.shape[3] > self.most:
            raise RuntimeError(self.error)
        return super().forward(x)


def test_tiles_are_halved_where_memory_runs_out_and_it_is_said(capsys):
    lr, model = _picture(300, 620), Confined(300**2)
    assert np.array_equal(upscale(model, lr, tile="auto"), lr.repeat(2, 0).repeat(2, 1))
    told = capsys.readouterr().err.splitlines()
    assert "out of memory; goes on in tiles of 310" in told
    assert "out of memory; goes on in tiles of 155" in told


def test_memory_that_suffices_for_no_tile_is_told():
    with pytest.raises(DataError, match="620x300 needs more memory than there is, even in tiles"):
        upscale(Confined(100), _picture(300, 620), quiet=True)


def test_a_picture_that_had_to_go_whole_is_not_cut():
    with pytest.raises(DataError, match="needs more memory than there is to go whole"):
        upscale(Confined(100), _picture(300, 620), tile=0)


def test_other_errors_are_not_taken_for_memory():
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        upscale(Confined(100, "shapes do not fit"), _picture(300, 620))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, (height, width) in {"a": (4, 6), "b": (5, 5)}.items():
        write_png(tmp_path / "HR" / f"{name}.png", _picture(2 * height + 1, 2 * width))
        write_png(tmp_path / "LR_bicubic" / "X2" / f"{name}x2.png", _picture(height, width))
    return tmp_path


def test_restores_every_pair_under_its_name(folder: Path, tmp_path: Path):
    written = restore(Nearest(), folder, 2, tmp_path / "sr", quiet=True)
    assert [path.name for path in written] == ["a.png", "b.png"]
    assert np.array_equal(read_image(written[0]), _picture(4, 6).repeat(2, 0).repeat(2, 1))


def test_restores_in_the_manner_asked_for(folder: Path, tmp_path: Path):
    model = Slanted()
    written = restore(model, folder, 2, tmp_path / "sr", Manner(0, True), quiet=True)
    expected = upscale(model, _picture(4, 6), self_ensemble=True)
    assert np.array_equal(read_image(written[0]), expected)


def test_a_picture_too_large_is_named(folder: Path, tmp_path: Path):
    with pytest.raises(DataError, match=r"ax2\.png: 6x4 needs more memory"):
        restore(Confined(10), folder, 2, tmp_path / "sr", quiet=True)


def test_the_control_is_matlabs_bicubic(folder: Path, tmp_path: Path):
    written = restore_control("bicubic", folder, 2, tmp_path / "sr", quiet=True)
    assert np.array_equal(read_image(written[1]), imresize(_picture(5, 5), 2))


def test_a_missing_lr_is_an_error(folder: Path, tmp_path: Path):
    (folder / "LR_bicubic" / "X2" / "ax2.png").unlink()
    with pytest.raises(DataError, match="ax2"):
        restore(Nearest(), folder, 2, tmp_path / "sr", quiet=True)
