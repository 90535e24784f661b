"""Upscaling on a GPU: pictures, tiles and symmetries together against one by one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import hitsr
from hitsr.data.images import Picture, read_image, write_png
from hitsr.runtime.tensors import to_picture
from hitsr.upscaling.inference import DEFAULTS, upscale
from hitsr.upscaling.many import pictures_at_once, upscale_alike
from hitsr.upscaling.restoration import restore
from hitsr.upscaling.tile_size import measured_bytes, picture_bytes


@pytest.fixture
def pictures(picture: Callable) -> Callable[..., list[Picture]]:
    """Makes pictures of one size as samples."""

    def make(height: int, width: int, count: int) -> list[Picture]:
        return [to_picture(each) for each in picture(height, width, batch=count).split(1)]

    return make


def check_near(found: object, expected: Picture) -> None:
    """Rounding changes few samples, and none by more than one level."""
    assert isinstance(found, np.ndarray)
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_pictures_together_are_those_one_by_one_and_those_of_the_cpu(
    name: str, network: Callable, pictures: Callable
):
    model, lr = network(name), pictures(40, 70, 5)
    assert pictures_at_once(model, DEFAULTS)((40, 70)) >= 5
    together = upscale_alike(model, lr, [to_picture] * 5, DEFAULTS)
    alone = [upscale(model, each) for each in lr]
    for one, other in zip(together, alone, strict=True):
        check_near(one, other)
    check_near(alone[0], upscale(model.cpu(), lr[0]))


@pytest.mark.parametrize("size", [(48, 48), (48, 80)])
def test_symmetries_together_are_those_one_by_one(
    size: tuple[int, int], network: Callable, pictures: Callable, monkeypatch: pytest.MonkeyPatch
):
    model, (lr,) = network("hit_sng"), pictures(*size, 1)
    together = upscale(model, lr, self_ensemble=True, quiet=True)
    monkeypatch.setattr("hitsr.upscaling.inference.batch_for_memory", lambda *_: 1)
    check_near(together, upscale(model, lr, self_ensemble=True, quiet=True))


def test_tiles_together_are_those_one_by_one(
    network: Callable, pictures: Callable, monkeypatch: pytest.MonkeyPatch
):
    model, (lr,) = network("swinir_light"), pictures(150, 500, 1)
    together = upscale(model, lr, tile=128, quiet=True)
    monkeypatch.setattr("hitsr.upscaling.inference.batch_for_memory", lambda *_: 1)
    check_near(together, upscale(model, lr, tile=128, quiet=True))


def test_a_set_is_restored_as_picture_by_picture(
    network: Callable, pictures: Callable, tmp_path: Path
):
    model, lr = network("hit_sir"), [*pictures(30, 44, 6), *pictures(44, 30, 3)]
    for i, each in enumerate(lr):
        write_png(tmp_path / "HR" / f"{i}.png", each.repeat(2, 0).repeat(2, 1))
        write_png(tmp_path / "LR_bicubic" / "X2" / f"{i}x2.png", each)
    written = restore(model, tmp_path, 2, tmp_path / "sr", quiet=True)
    for path, each in zip(written, lr, strict=True):
        check_near(read_image(path), upscale(model, each))


@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_pictures_need_no_more_memory_than_estimated(
    name: str, network: Callable, gpu: torch.device
):
    model, size = network(name), (256, 256)
    with torch.inference_mode():
        model(torch.rand(1, 3, *size, device=gpu))  # caches, and workspaces of libraries
        per_pixel = measured_bytes(lambda lr: model(lr.to(gpu)), size, gpu)
    assert per_pixel * 256 * 256 < picture_bytes(model.network, 2, size)


def test_memory_that_runs_out_costs_a_message_and_no_picture(
    network: Callable, pictures: Callable, gpu: torch.device, capfd: pytest.CaptureFixture[str]
):
    model, lr = network("hit_sir"), pictures(192, 192, 8)
    expected = [upscale(model, each) for each in lr]
    torch.cuda.reset_peak_memory_stats(gpu)
    at_rest = torch.cuda.memory_allocated(gpu)
    upscale_alike(model, lr[:4], [to_picture] * 4, DEFAULTS)
    four = torch.cuda.max_memory_allocated(gpu) - at_rest
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(gpu).total_memory
    needed = torch.cuda.memory_allocated(gpu) + 1.5 * four  # not enough for eight
    torch.cuda.set_per_process_memory_fraction(needed / total, gpu)
    try:
        found = upscale_alike(model, lr, [to_picture] * 8, DEFAULTS)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, gpu)
    for one, other in zip(found, expected, strict=True):
        check_near(one, other)
    assert "out of memory; continuing with 4 pictures at a time" in capfd.readouterr().err
