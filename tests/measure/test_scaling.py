import math
import random

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor, nn

import hitsr
from hitsr import api
from hitsr.api import costs_over_pictures, costs_over_windows, times_over_windows
from hitsr.base.errors import SpecError
from hitsr.measure import forwards
from hitsr.measure.scaling import (
    Fed,
    common_picture,
    fit_power_law,
    one_block,
    time_growth,
    timed_side,
    windows_of,
)
from hitsr.records import PowerLaw

SIR, SWIN = hitsr.NETWORKS["hit_sir"], hitsr.NETWORKS["swinir_light"]


@pytest.mark.parametrize("exponent", [-1.5, 0, 1, 2])
def test_an_exact_power_is_found_without_error(exponent: float):
    sizes = [64, 100, 1024, 4096]
    fit = fit_power_law(sizes, [7 * size**exponent for size in sizes])
    assert fit.exponent == pytest.approx(exponent, abs=1e-12)
    assert fit.standard_error == pytest.approx(0, abs=1e-12)


def test_fit_and_error_agree_with_scipy():
    noise = random.Random(0)
    sizes = [2.0**power for power in range(3, 12)]
    costs = [size**1.3 * noise.uniform(0.5, 2) for size in sizes]
    theirs = scipy.stats.linregress(np.log(sizes), np.log(costs))
    ours = fit_power_law(sizes, costs)
    assert ours.exponent == pytest.approx(theirs.slope)
    assert ours.standard_error == pytest.approx(theirs.stderr)


@pytest.mark.parametrize(
    ("sizes", "costs", "told"),
    [([1, 2], [1, 2], "3 different"), ([1, 1, 2], [1, 2, 3], "3 different"),
     ([1, 2, 3], [1, 0, 1], "above zero")],
)  # fmt: skip
def test_what_cannot_be_fitted_is_refused(sizes: list[float], costs: list[float], told: str):
    with pytest.raises(ValueError, match=told):
        fit_power_law(sizes, costs)


def test_one_block_differs_in_depth_and_windows_only():
    cut = one_block(SIR, 24)
    assert cut.windows.sizes == (24,)
    assert cut.patch({"depths": SIR.depths, "windows.ratios": SIR.windows.ratios}) == SIR


def test_a_window_that_cannot_be_is_told():
    with pytest.raises(SpecError, match=r"hit_sir in windows of 12: .*not a multiple of its base"):
        one_block(SIR, 12)


def test_every_window_divides_the_common_picture():
    for network in hitsr.NETWORKS.values():
        sides = windows_of(network)
        width, height = common_picture(sides)
        assert all(width % (2 * side) == height % (2 * side) == 0 for side in sides)


def _flops_exponent(points) -> PowerLaw:
    return fit_power_law([p.tokens for p in points], [p.flops for p in points])


def test_correlation_is_linear_per_window_and_attention_is_not():
    linear = _flops_exponent(costs_over_windows(SIR, 2, windows_of(SIR), "paper"))
    assert abs(linear.exponent) < 0.001
    assert linear.standard_error < 0.001
    attention = _flops_exponent(costs_over_windows(SWIN, 2, windows_of(SWIN), "paper"))
    assert attention.exponent > 0.6


def test_a_mixers_attention_costs_as_by_hand():
    for point in costs_over_windows(SWIN, 2, (8, 16), "paper"):
        pixels = math.prod(point.input_size)
        assert point.flops == pixels * (4 * 60**2 + 2 * point.tokens * 60)


def test_whole_networks_are_linear_in_the_picture():
    network = SIR.patch({"depths": [6]})
    fit = _flops_exponent(costs_over_pictures(network, 2, (192, 384, 576), "paper"))
    assert fit.exponent == pytest.approx(1, abs=0.001)


@pytest.mark.parametrize(("name", "side"), [("hit_sir", 192), ("swinir_ng", 192), ("hit_sng", 384)])
def test_the_smallest_square_that_whole_windows_of_every_side_fill(name: str, side: int):
    network = hitsr.NETWORKS[name]
    variants = [one_block(network, window) for window in windows_of(network)]
    assert timed_side(variants) == side


def test_times_are_of_each_ones_own_input_in_turns(monkeypatch: pytest.MonkeyPatch):
    seen: list[int] = []

    class Square(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.shape[-1])
            return x

    def timed(model: nn.Module, pictures: Tensor) -> float:
        return float(model(pictures).shape[-1] ** 3)

    monkeypatch.setitem(forwards._CLOCKS, "cpu", ("wall", timed))
    sides = (2, 4, 8)
    models = [Fed(Square(), torch.ones(1, side)) for side in sides]
    sizes = [(side, side) for side in sides]
    found = time_growth(sides, models, sizes, torch.device("cpu"), warmup=1, samples=2)
    assert seen == [2, 4, 8] * 3
    assert [point.samples_ms for point in found.points] == [(8, 8), (64, 64), (512, 512)]
    assert found.law.exponent == pytest.approx(1.5)  # of side squared


def test_windows_are_timed_by_their_mixer_at_one_picture(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(api, "timed_side", lambda _: 16)
    monkeypatch.setattr(api, "windows_of", lambda _: (4, 8, 16))
    found = times_over_windows(SIR, 2, "fused", torch.device("cpu"), warmup=0, samples=1)
    assert [point.side for point in found.points] == [4, 8, 16]
    assert {point.input_size for point in found.points} == {(16, 16)}
