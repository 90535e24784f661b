from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import hitsr
from hitsr.base.errors import SpecError
from hitsr.upscaling.tiling import (
    Tiling,
    blended,
    fade_in,
    largest_tiling,
    smallest_tiling,
    spans,
    upscaled_rows,
)

SMALL = Tiling(step=24, overlap=16)


@pytest.mark.parametrize("length", [1, 39, 40, 41, 64, 65, 200])
def test_tiles_cover_a_side_and_overlap_as_given(length: int):
    places = spans(length, SMALL)
    assert (places[0].start, places[-1].stop) == (0, length)
    for place, following in pairwise(places):
        assert place.stop - following.start == SMALL.overlap
        assert following.start % SMALL.step == 0
        assert following.stop > place.stop
    assert max(place.stop - place.start for place in places) <= SMALL.side


@pytest.mark.parametrize("length", [4, 7, 128])
def test_weights_rise_over_the_middle_quarter_and_sum_to_one(length: int):
    weights = fade_in(length)
    assert torch.equal(weights, weights.sort().values)
    torch.testing.assert_close(weights + weights.flip(0), torch.ones(length))
    edge = 3 * length // 8
    assert not weights[:edge].any()
    assert weights[length - edge :].eq(1).all()


def test_tiles_are_blended_with_these_weights():
    zero, one = torch.zeros(1, 1, 40), torch.ones(1, 1, 40)
    chain = torch.cat([*blended([zero, one], spans(64, SMALL), 2)], 2)
    expected = torch.cat([torch.zeros(24), fade_in(16), torch.ones(24)])
    torch.testing.assert_close(chain[0, 0], expected)


class Reaching(nn.Module):
    """Upscales by 2 with convolutions whose receptive field reaches `reach` pixels."""

    def __init__(self, reach: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 3, 3, padding=1, dtype=torch.float64) for _ in range(reach)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.layers(x), scale_factor=2.0)


def _tiled(forward: Callable[[Tensor], Tensor], lr: Tensor, tiling: Tiling | None) -> Tensor:
    def crop(rows: slice, columns: slice) -> Tensor:
        return lr[:, :, rows, columns]

    with torch.inference_mode():
        return torch.cat([*upscaled_rows(forward, crop, (lr.shape[2], lr.shape[3]), tiling)], 1)[
            None
        ]


def _noise(height: int, width: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).random((1, 3, height, width))).to(dtype)


@pytest.mark.parametrize("size", [(100, 70), (41, 200), (30, 30)])
def test_tiles_change_nothing_if_the_overlap_covers_the_receptive_field(size: tuple[int, int]):
    model, lr = Reaching(3 * SMALL.overlap // 8), _noise(*size, torch.float64)
    torch.testing.assert_close(_tiled(model, lr, SMALL), model(lr), rtol=0, atol=1e-14)


def test_a_larger_receptive_field_differs_at_seams_only():
    model, lr = Reaching(3 * SMALL.overlap // 8 + 2), _noise(100, 30, torch.float64)
    off = (_tiled(model, lr, SMALL) - model(lr)).abs().amax((0, 1, 3)) > 1e-14
    rows = off.nonzero().flatten() // 2
    assert len(rows)
    for place, following in pairwise(spans(100, SMALL)):
        rows = rows[(rows < following.start) | (rows >= place.stop)]
    assert not len(rows)


def test_rows_are_yielded_before_later_ones_are_computed():
    seen: list[int] = []

    def forward(lr: Tensor) -> Tensor:
        seen.append(lr.shape[2])
        return lr

    def crop(rows: slice, columns: slice) -> Tensor:
        return torch.zeros(1, 3, rows.stop - rows.start, columns.stop - columns.start)

    rows = upscaled_rows(forward, crop, (100, 30), SMALL)
    assert next(rows).shape == (3, 24, 30)
    assert seen == [40]


def _network(base: str, **changes: object) -> nn.Module:
    """One group of a network with small windows, so that pictures can be small."""
    torch.manual_seed(0)
    network = hitsr.NETWORKS[base].patch({"depths": [6], **changes})
    return hitsr.create(network, 2).eval()


@pytest.mark.parametrize("base", ["hit_sir", "hit_sng"])
def test_tiles_start_where_windows_start(base: str):
    """A tile that starts at a window differs far less from the whole than one two pixels off."""
    model = _network(base, **{"windows.base": 4, "windows.ratios": [0.5, 1, 2, 3, 1, 1]})
    unit = smallest_tiling(model).step
    lr = _noise(24, unit + 96)
    errors = []
    with torch.inference_mode():
        whole = model(lr)[..., 2 * unit + 80 :]
        for start in (unit, unit - 2):
            tile = model(lr[..., start:])[..., 2 * (unit - start) + 80 :]
            errors.append((tile - whole).abs().max())
    assert errors[0] < errors[1] / 100


@pytest.mark.parametrize("base", ["swinir_light", "srformer_light", "hit_srf", "hit_sng"])
def test_no_seam_shows(base: str):
    windows = {"windows.base": 4} if base.startswith("hit") else {}
    model = _network(base, **windows)
    tiling = smallest_tiling(model)
    lr = _noise(48, tiling.step + tiling.side)
    with torch.inference_mode():
        whole, tiled = model(lr), _tiled(model, lr, tiling)
    assert len(spans(lr.shape[3], tiling)) == 2
    difference = tiled - whole
    assert difference.abs().max() < 1 / 255
    assert difference.std() < 1e-3 * whole.std()


def test_tiles_are_at_most_of_the_side_asked_for():
    model = hitsr.create("hit_sir", 2)
    assert smallest_tiling(model) == Tiling(step=192, overlap=128)
    assert largest_tiling(model, 900) == Tiling(step=768, overlap=128)
    assert largest_tiling(hitsr.create("swinir_light", 2), 900) == Tiling(step=832, overlap=64)
    assert largest_tiling(nn.Identity(), 901) == Tiling(step=837, overlap=64)


def test_tiles_smaller_than_windows_allow_are_refused():
    with pytest.raises(
        SpecError, match="tile 300: this network needs tiles of 320 LR pixels or more"
    ):
        largest_tiling(hitsr.create("hit_sir", 2), 300)
