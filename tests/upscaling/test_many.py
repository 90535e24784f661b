import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hitsr.base.errors import DataError, WeightsError
from hitsr.data.images import Picture
from hitsr.runtime.tensors import to_picture
from hitsr.upscaling import inference
from hitsr.upscaling.in_order import in_order
from hitsr.upscaling.inference import DEFAULTS, UpscaleOptions, upscale
from hitsr.upscaling.many import most_waiting, pictures_at_once, upscale_alike


class Slanted(nn.Module):
    """Upscales by 2 with a convolution; NaN for bright pictures; notes its batches."""

    def __init__(self, most: int = 99) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 12, 3, padding=1)
        self.most, self.batches = most, list[int]()

    def forward(self, x: Tensor) -> Tensor:
        self.batches.append(len(x))
        if len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        bright = x.mean((1, 2, 3), keepdim=True) > 0.9
        return F.pixel_shuffle(self.conv(x), 2) * torch.where(bright, torch.nan, 1.0)


def pictures(count: int) -> list[Picture]:
    return list(np.random.default_rng(0).integers(0, 256, (count, 8, 9, 3), dtype=np.uint8))


def alike(model: nn.Module, lr: list[Picture]) -> list[object]:
    return list(upscale_alike(model, lr, [to_picture] * len(lr), DEFAULTS))


def test_pictures_together_are_those_one_by_one():
    model, lr = Slanted(), pictures(5)
    found = alike(model, lr)
    assert model.batches == [5]
    for sr, each in zip(found, lr, strict=True):
        assert np.array_equal(sr, upscale(model, each))


@pytest.mark.parametrize("count", [1, 2])
def test_tf32_is_off_whatever_the_default(count: int, monkeypatch: pytest.MonkeyPatch):
    class Exact(nn.Upsample):
        def forward(self, x: Tensor) -> Tensor:
            assert not torch.backends.cudnn.allow_tf32
            return super().forward(x)

    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    assert len(alike(Exact(scale_factor=2), pictures(count))) == count
    assert torch.backends.cudnn.allow_tf32


def test_pictures_are_halved_with_a_message_if_memory_runs_out(capsys):
    model, lr = Slanted(most=2), pictures(5)
    expected = [upscale(model, each) for each in lr]
    model.batches.clear()
    assert np.array_equal(alike(model, lr), expected)
    assert model.batches == [5, 2, 3, 1, 2]
    assert capsys.readouterr().err.splitlines() == [
        "out of memory; continuing with 2 pictures at a time",
        "out of memory; continuing with 1 pictures at a time",
    ]


def test_each_picture_fails_alone():
    model, lr = Slanted(), pictures(4)
    lr[2] = np.full_like(lr[2], 255)
    found = alike(model, lr)
    assert isinstance(found[2], WeightsError)
    assert [isinstance(sr, np.ndarray) for sr in found] == [True, True, False, True]


def test_a_picture_too_large_for_float16_is_found_among_others():
    class Loud(nn.Upsample):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * 60000 * 1.2

    lr = [np.full_like(each, 9) for each in pictures(5)]
    lr[3] = np.full_like(lr[3], 255)
    model = Loud(scale_factor=2)
    model.register_parameter("one", nn.Parameter(torch.ones(1, dtype=torch.float16)))
    found = alike(model, lr)
    assert [isinstance(sr, WeightsError) for sr in found] == [False, False, False, True, False]
    assert "float16 does not hold" in str(found[3])


def test_one_after_the_other_on_a_cpu_or_in_tiles(monkeypatch: pytest.MonkeyPatch):
    model = Slanted()
    assert pictures_at_once(model, DEFAULTS)((64, 64)) == 1
    assert most_waiting(model) == 1
    monkeypatch.setattr(inference, "batch_for_memory", lambda *_: 4)
    assert pictures_at_once(model, DEFAULTS)((64, 64)) == 4
    assert pictures_at_once(model, UpscaleOptions(tile=128))((128, 128)) == 4
    assert pictures_at_once(model, UpscaleOptions(tile=128))((128, 129)) == 1
    assert pictures_at_once(model, UpscaleOptions(tile=0))((4000, 4000)) == 4


def doubled(numbers: list[int]) -> list[int]:
    return [2 * number for number in numbers]


def test_items_keep_their_order_and_those_of_one_size_come_together():
    groups: list[list[int]] = []

    def upscale(group: list[int]) -> list[int]:
        groups.append(group)
        return doubled(group)

    done = in_order(
        [11, 12, 13, 14, 21, 0, 22, 23],
        lambda item: item,
        lambda item: (1, item // 10) if item else None,
        upscale,
        lambda item, upscaled: (item, upscaled),
        at_once=lambda _: 3,
        waiting=2,
    )
    assert list(done) == [(item, 2 * item) for item in (11, 12, 13, 14, 21, 0, 22, 23)]
    assert groups == [[11, 12, 13], [14], [21], [0], [22, 23]]


@pytest.mark.parametrize("stage", ["read", "upscale", "finish"])
def test_an_error_is_raised_after_the_items_before_are_finished(stage: str):
    finished: list[int] = []

    def failing(name: str, item: int) -> int:
        if name == stage and item == 3:
            raise DataError(name)
        return item

    def finish(item: int, _: int) -> int:
        finished.append(failing("finish", item))
        return item

    work = in_order(
        [1, 2, 3, 4],
        lambda item: failing("read", item),
        lambda _: (1, 1),
        lambda group: [failing("upscale", item) for item in group],
        finish,
    )
    with pytest.raises(DataError, match=stage):
        list(work)
    assert [item for item in finished if item < 3] == [1, 2]


def test_the_next_item_is_read_and_the_last_one_finished_meanwhile():
    """Each step waits for others that a loop without threads would come to later."""
    events = {name: threading.Event() for name in ("read 2", "upscaled 2")}

    def read(item: int) -> int:
        if item == 2:
            events["read 2"].set()
        return item

    def upscale(group: list[int]) -> list[int]:
        if group == [1]:
            assert events["read 2"].wait(60)
        if group == [2]:
            events["upscaled 2"].set()
        return group

    def finish(item: int, _: int) -> int:
        if item == 1:
            assert events["upscaled 2"].wait(60)
        return item

    size: Callable[[int], tuple[int, int]] = lambda _: (1, 1)  # noqa: E731
    assert list(in_order([1, 2, 3], read, size, upscale, finish)) == [1, 2, 3]
