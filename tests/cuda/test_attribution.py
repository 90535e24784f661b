"""Attribution maps on a GPU: batches against single steps, and against the CPU."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

import hitsr
from hitsr.measure.attribution import Attribution, local_attributions
from hitsr.measure.attribution_batches import Window
from hitsr.records import AttributionSettings

FEW = AttributionSettings(steps=8)
WINDOWS: list[Window] = [(8, 8, 16), (20, 4, 16), (0, 32, 24), (40, 40, 8)]


def check_near(found: Attribution | Exception, expected: Attribution, tolerance: float) -> None:
    """All contributions together differ by at most `tolerance`.

    Single ones may differ more: where SR pixels are nearly equal, the direction of their gradient
    depends on the last bits.
    """
    assert isinstance(found, Attribution)
    difference = np.linalg.norm(found.channels - expected.channels)
    assert difference < tolerance * np.linalg.norm(expected.channels)
    assert found.change == pytest.approx(expected.change, rel=tolerance)


@pytest.mark.parametrize("name", ["swinir_light", "srformer_light", "hit_sng"])  # minutes for all
def test_maps_in_batches_are_those_one_by_one_and_those_of_the_cpu(
    name: str, network: Callable, picture: Callable
):
    model = network(name)
    windows = list(zip(picture(32, 32, batch=4).split(1), WINDOWS, strict=True))
    found = list(local_attributions(model, windows, settings=FEW))
    assert max(each.batch for each in found) > 8  # steps of several windows
    for each, window in zip(found, windows, strict=True):
        alone = hitsr.local_attribution(model, *window, settings=FEW, memory_bytes=1)
        assert alone.batch == 1
        check_near(each, alone, 1e-3)
    check_near(found[0], hitsr.local_attribution(model.cpu(), *windows[0], settings=FEW), 3e-3)


def test_batches_are_exact_in_float64(network: Callable, picture: Callable):
    model = network("hit_sir").double()
    windows = list(zip(picture(32, 24, batch=4).split(1), WINDOWS, strict=True))
    found = local_attributions(model, windows, settings=FEW)
    for each, window in zip(found, windows, strict=True):
        alone = hitsr.local_attribution(model, *window, settings=FEW, memory_bytes=1)
        check_near(each, alone, 1e-6)


def test_batches_fit_in_what_is_free(
    network: Callable, picture: Callable, gpu: torch.device, capfd: pytest.CaptureFixture[str]
):
    """Batches made for half of the free memory need no more than twice that, and much of it.

    A single step, which shows the need, may be fastest by another way of attention than a batch.
    """
    model = network("swinir_light")
    given = 2 * 2**30
    windows = [(each, (8, 8, 16)) for each in picture(64, 64, batch=8).split(1)]
    next(local_attributions(model, windows, settings=FEW, memory_bytes=given))
    torch.cuda.reset_peak_memory_stats(gpu)
    before = torch.cuda.memory_allocated(gpu)
    found = list(local_attributions(model, windows, memory_bytes=given))
    peak = torch.cuda.max_memory_allocated(gpu) - before
    assert all(isinstance(each, Attribution) for each in found)
    assert 0.3 * given < peak < 2 * given
    assert "out of memory" not in capfd.readouterr().err
