import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hitsr.base.errors import DataError, WeightsError
from hitsr.data.images import Picture
from hitsr.upscaling.inference import upscale


class Nearest(nn.Module):
    """Upscales by 2 by repeating pixels, times a gain; checks that it runs in eval mode."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(self, x: Tensor) -> Tensor:
        assert not self.training
        return (x * self.gain).repeat_interleave(2, 2).repeat_interleave(2, 3)


def _picture(height: int, width: int) -> Picture:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_output_is_upscaled_clamped_and_rounded():
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


def test_diverged_weights_raise():
    with pytest.raises(WeightsError, match="not finite"):
        upscale(Nearest(float("nan")), _picture(3, 3))


def test_tiles_make_the_same_picture(capsys: pytest.CaptureFixture[str]):
    lr = _picture(150, 310)
    assert np.array_equal(upscale(Nearest(), lr, tile=128), upscale(Nearest(), lr, tile=0))
    message = capsys.readouterr().err
    assert message.startswith("tiles of 128: 8/8 tile")


class Slanted(nn.Module):
    """Upscales by 2 with a convolution whose result depends on the picture's orientation."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 12, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(x), 2)


@pytest.mark.parametrize("tile", [0, 128])
def test_the_self_ensemble_rotates_with_the_picture(tile: int):
    lr, model = _picture(150, 140), Slanted()

    def difference(self_ensemble: bool) -> int:
        """Largest difference between rotating before and after upscaling."""
        upright, rotated = (
            upscale(model, each, tile=tile, self_ensemble=self_ensemble, quiet=True).astype(int)
            for each in (lr, np.ascontiguousarray(np.rot90(lr)))
        )
        return int(np.abs(np.rot90(upright) - rotated).max())

    assert difference(self_ensemble=False) > 50
    assert difference(self_ensemble=True) <= 1  # the order of additions may change the rounding


class Confined(Nearest):
    """Raises PyTorch's out-of-memory error for pictures of more than `most` pixels."""

    def __init__(self, most: int, error: str = "DefaultCPUAllocator: not enough memory") -> None:
        super().__init__()
        self.most, self.error, self.sides = most, error, list[int]()

    def forward(self, x: Tensor) -> Tensor:
        self.sides.append(max(x.shape[2:]))
        if x.shape[2] * x.shape[3] > self.most:
            raise RuntimeError(self.error)
        return super().forward(x)


def test_tiles_are_halved_with_a_message_if_memory_runs_out(capsys):
    lr, model = _picture(300, 620), Confined(300**2)
    assert np.array_equal(upscale(model, lr, tile="auto"), lr.repeat(2, 0).repeat(2, 1))
    message = capsys.readouterr().err.splitlines()
    assert "out of memory; continuing in tiles of 310" in message
    assert "out of memory; continuing in tiles of 155" in message


def test_too_little_memory_for_any_tile_raises():
    with pytest.raises(DataError, match="620x300 needs more memory than there is, even in tiles"):
        upscale(Confined(100), _picture(300, 620), quiet=True)


def test_tile_0_never_uses_tiles():
    with pytest.raises(DataError, match="needs more memory than there is without tiles"):
        upscale(Confined(100), _picture(300, 620), tile=0)


def test_other_errors_are_raised_unchanged():
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        upscale(Confined(100, "shapes do not fit"), _picture(300, 620))
