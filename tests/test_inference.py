from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hitsr.data.bicubic import imresize
from hitsr.data.images import Picture, read_image, write_png
from hitsr.errors import DataError, WeightsError
from hitsr.inference import restore, restore_control, to_batch, to_picture, upscale


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


def test_the_control_is_matlabs_bicubic(folder: Path, tmp_path: Path):
    written = restore_control("bicubic", folder, 2, tmp_path / "sr", quiet=True)
    assert np.array_equal(read_image(written[1]), imresize(_picture(5, 5), 2))


def test_a_missing_lr_is_an_error(folder: Path, tmp_path: Path):
    (folder / "LR_bicubic" / "X2" / "ax2.png").unlink()
    with pytest.raises(DataError, match="ax2"):
        restore(Nearest(), folder, 2, tmp_path / "sr", quiet=True)
