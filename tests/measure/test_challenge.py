import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hitsr.base.errors import DataError, SpecError
from hitsr.data.images import read_image, write_png
from hitsr.measure import forwards
from hitsr.measure.challenge import pairs_of, run_once
from hitsr.measure.complexity import take_census

CPU = torch.device("cpu")
SIZES = {"0801": (9, 12), "0802": (20, 7), "000001": (16, 16)}  # height, width of LR


class Enlarges(nn.Module):
    """Repeats pixels, a little brighter; keeps what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(1.1))
        self.seen: list[tuple[int, ...]] = []

    def forward(self, x: Tensor) -> Tensor:
        # As in the challenge's test code: autograd is on, no weight needs a gradient.
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
        assert (self.training, self.gain.requires_grad) == (False, False)
        assert torch.backends.cudnn.allow_tf32
        assert not any((torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.benchmark))
        self.seen.append(tuple(x.shape))
        return F.interpolate(x, scale_factor=4) * self.gain


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """LR and HR of three sizes; HR has up to three pixels more than four times those of LR."""
    noise = np.random.default_rng(0)
    for name, (height, width) in SIZES.items():
        hr = noise.integers(0, 256, (4 * height + 1, 4 * width + 3, 3), dtype=np.uint8)
        write_png(tmp_path / "hr" / f"{name}.png", hr)
        write_png(tmp_path / "lr" / f"{name}x4.png", hr[: 4 * height : 4, : 4 * width : 4].copy())
    return tmp_path / "lr", tmp_path / "hr"


def test_every_picture_is_upscaled_once_in_the_order_of_hr(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
):
    times_ms = iter([900.0, 3.0, 2.0])

    def timed(model: nn.Module, pictures: Tensor) -> float:
        model(pictures)
        return next(times_ms)

    monkeypatch.setitem(forwards._CLOCKS, "cpu", ("wall", timed))
    model, before = Enlarges(), torch.backends.cudnn.benchmark
    found = run_once(lambda: model, pairs_of(*folders), CPU, threads=1)
    assert model.seen == [(1, 3, *SIZES[name]) for name in ("000001", "0801", "0802")]
    assert found.times_ms == (900.0, 3.0, 2.0)  # the first forward is a sample like any other
    assert (found.clock, found.memory_kind) == ("wall", "resident_set")
    assert torch.backends.cudnn.benchmark == before


def test_psnr_is_the_challenges_on_rgb(folders: tuple[Path, Path]):
    found = run_once(Enlarges, pairs_of(*folders), CPU, threads=1)
    for psnr_db, (lr, hr) in zip(found.psnr_db, pairs_of(*folders), strict=True):
        repeated = np.repeat(np.repeat(read_image(lr), 4, 0), 4, 1).astype(np.float32) / 255
        sr = np.uint8((np.clip(repeated * np.float32(1.1), 0, 1) * 255).round())
        truth = read_image(hr)[: sr.shape[0], : sr.shape[1]]
        inside = slice(4, -4), slice(4, -4)
        error = np.mean((sr[inside].astype(np.float64) - truth[inside].astype(np.float64)) ** 2)
        assert psnr_db == pytest.approx(20 * math.log10(255 / math.sqrt(error)), abs=1e-9)


def test_without_hr_there_is_no_psnr(folders: tuple[Path, Path]):
    found = run_once(Enlarges, pairs_of(folders[0], None), CPU, threads=1)
    assert (len(found.times_ms), found.psnr_db) == (3, None)


def test_pictures_of_another_scale_are_refused(folders: tuple[Path, Path]):
    with pytest.raises(DataError, match=r"000001x4.*its SR is 64x64, but .* is 16x16, not 4 times"):
        run_once(Enlarges, pairs_of(folders[0], folders[0]), CPU, threads=1)


def test_a_network_that_fails_is_told_with_the_size_of_the_picture(folders: tuple[Path, Path]):
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if x.shape[2] == 20:
                raise torch.OutOfMemoryError
            return x

    with pytest.raises(SpecError, match="7x20 in float32 on cpu: out of memory"):
        run_once(Fails, pairs_of(folders[0], None), CPU, threads=1)


def test_pictures_without_a_partner_are_named(folders: tuple[Path, Path]):
    lr, hr = folders
    (lr / "0801x4.png").rename(lr / "0801.png")
    assert [pair[0].name for pair in pairs_of(lr, hr)] == ["000001x4.png", "0801.png", "0802x4.png"]
    (lr / "0801.png").rename(lr / "900.png")
    with pytest.raises(DataError, match=r"no LR picture for .*0801.png; .* named 0801x4"):
        pairs_of(lr, hr)
    (hr / "0801.png").unlink()
    with pytest.raises(DataError, match=r"900.png: no HR picture in .*hr belongs to it"):
        pairs_of(lr, hr)


def test_activations_are_the_outputs_of_convolution_modules():
    shared = nn.Conv2d(3, 3, 3, padding=1)
    model = nn.Sequential(shared, shared, nn.ConvTranspose2d(3, 5, 4, 4), nn.Flatten(2), nn.ReLU())
    census = take_census(model, (8, 6))
    assert census.convolutions == 3
    assert census.convolved == 2 * 3 * 48 + 5 * 16 * 48
