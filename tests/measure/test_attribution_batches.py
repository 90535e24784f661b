from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import hitsr
from hitsr.base.errors import DataError, WeightsError
from hitsr.measure import attribution_batches
from hitsr.measure.attribution import Attribution, local_attribution, local_attributions
from hitsr.measure.attribution_batches import Window
from hitsr.records import AttributionSettings

FEW = AttributionSettings(steps=6)  # of which the last two are merged into one: 5 steps
PLENTY = 2**40  # bytes: all steps of a window, and many windows, share a batch


class Noted(nn.Module):
    """A small nonlinear network that notes how many pictures went through it, with gradients."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = (
            nn.Conv2d(*channels, 3, padding=1, padding_mode="replicate")  # flat stays flat
            for channels in ((3, 8), (8, 12))
        )
        self.batches = list[int]()

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            self.batches.append(len(x))
        return F.pixel_shuffle(self.last(F.gelu(4 * self.first(x))), 2)


class Confined(Noted):
    """Runs out of memory, as CUDA does, if gradients of more than `most` LR pixels are wanted."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def forward(self, x: Tensor) -> Tensor:
        sr = super().forward(x)
        if torch.is_grad_enabled() and x[:, 0].numel() > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return sr


def windows(*sizes: tuple[int, int]) -> list[tuple[Tensor, Window]]:
    """A picture of each size, (height, width), and a window at another place in each."""
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.rand(1, 3, *size, generator=generator, dtype=torch.float64), (2 + i, 1 + i, 6 + i))
        for i, size in enumerate(sizes)
    ]


def check_equal(found: list[Attribution | DataError], expected: list[Attribution]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert isinstance(one, Attribution)
        largest = np.abs(other.channels).max()
        np.testing.assert_allclose(one.channels, other.channels, rtol=0, atol=1e-6 * largest)
        assert one.change == pytest.approx(other.change, rel=1e-6)
        assert one.settings == other.settings


MIXED = ((12, 14), (12, 14), (12, 14), (9, 16), (16, 9), (16, 9), (12, 14))


@pytest.mark.parametrize("refine", [False, True])
@pytest.mark.parametrize("memory_bytes", [1, 2**18, PLENTY])
def test_maps_of_many_windows_are_those_one_by_one(memory_bytes: int, refine: bool):
    model, places = Noted().double(), windows(*MIXED)
    expected = [
        local_attribution(model, *place, settings=FEW, refine=refine, memory_bytes=1)
        for place in places
    ]
    found = local_attributions(
        model, places, settings=FEW, refine=refine, memory_bytes=memory_bytes
    )
    check_equal(list(found), expected)


def test_maps_of_a_published_network_do_not_depend_on_the_batch():
    model = hitsr.create(hitsr.NETWORKS["hit_sir"].patch({"depths": [6]}), 2).double()
    places = windows((12, 12), (12, 12))
    settings = AttributionSettings(steps=2)
    expected = [local_attribution(model, *place, settings=settings) for place in places]
    found = local_attributions(model, places, settings=settings, memory_bytes=PLENTY)
    check_equal(list(found), expected)


def test_windows_of_one_size_share_batches_after_a_probe_of_one_step():
    model, places = Noted(), windows(*MIXED)
    found = list(local_attributions(model, places, settings=FEW, memory_bytes=PLENTY))
    # Sizes change after three windows, after one, after two; the last size is known.
    assert model.batches == [1, 4 + 5 + 5, 1, 4, 1, 4 + 5, 5]
    assert [each.batch for each in found] == [14, 14, 14, 4, 9, 9, 5]


@pytest.mark.parametrize(
    ("most", "batches"),
    [
        (14, [1, 4 + 5 + 5, 5]),
        (10, [1, 4 + 5, 5 + 5]),
        (9, [1, 4 + 5, 5, 5]),
        (3, [1, 3, 1, 3, 2, 3, 2, 3, 2]),
    ],
)
def test_a_path_is_not_divided_if_it_fits_into_a_batch(
    most: int, batches: list[int], monkeypatch: pytest.MonkeyPatch
):
    @contextmanager
    def need(_: torch.device) -> Iterator[Callable[[], int]]:
        yield lambda: 10**6

    monkeypatch.setattr(attribution_batches, "_need", need)
    model = Noted()
    places = windows(*[(12, 14)] * 4)
    list(local_attributions(model, places, settings=FEW, memory_bytes=most * 10**6))
    assert model.batches == batches


def test_a_network_that_saves_nothing_is_held_by_its_output():
    class Repeating(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.batches = list[int]()

        def forward(self, x: Tensor) -> Tensor:
            self.batches.append(len(x))
            return F.interpolate(x, scale_factor=2)

    model, output_bytes = Repeating(), 3 * 24 * 28 * 4
    places = windows(*[(12, 14)] * 4)
    list(local_attributions(model, places, settings=FEW, memory_bytes=40 * output_bytes))
    assert max(model.batches) == 10


def test_batches_are_halved_with_a_message_if_memory_runs_out(capsys: pytest.CaptureFixture[str]):
    places = windows(*[(12, 14)] * 3)
    expected = [local_attribution(Noted().double(), *each, settings=FEW) for each in places]
    model = Confined(most=5 * 12 * 14).double()
    found = list(local_attributions(model, places, settings=FEW, memory_bytes=PLENTY))
    check_equal(found, expected)
    told = [f"out of memory; continuing in batches of {steps} steps" for steps in (7, 3)]
    assert capsys.readouterr().err.splitlines() == told
    assert model.batches == [1, 14, 7, 3, 3, 3, 3, 2]


def test_a_picture_too_large_for_one_step_costs_only_its_window():
    places = windows((12, 14), (30, 30), (12, 14))
    first, second, third = local_attributions(Confined(most=600), places, settings=FEW)
    assert isinstance(first, Attribution)
    assert isinstance(third, Attribution)
    assert "one gradient of 30x30 LR pixels needs more memory than there is" in str(second)
    with pytest.raises(DataError, match="needs more memory"):
        local_attribution(Confined(most=600), *places[1], settings=FEW)


def test_a_flat_picture_costs_only_its_window():
    places = windows((12, 14), (12, 14), (12, 14))
    places[1] = (torch.full_like(places[1][0], 0.5), places[1][1])
    found = list(local_attributions(Noted(), places, settings=FEW, memory_bytes=PLENTY))
    assert [type(each) for each in found] == [Attribution, DataError, Attribution]


def test_diverged_weights_are_told_after_the_windows_before():
    class Diverging(Noted):
        """NaN for pictures that are brighter than others."""

        def forward(self, x: Tensor) -> Tensor:
            bright = x.mean((1, 2, 3), keepdim=True) > 0.9
            return super().forward(x) * torch.where(bright, torch.nan, 1.0)

    places = windows((12, 14), (12, 14), (12, 14))
    places[1] = (1 - places[1][0] / 10, places[1][1])
    found = local_attributions(Diverging(), places, settings=FEW, memory_bytes=PLENTY)
    assert isinstance(next(found), Attribution)
    with pytest.raises(WeightsError, match="gradients are not finite"):
        next(found)


def test_other_errors_are_raised_unchanged():
    class Broken(Noted):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError(f"shapes do not fit: {x.shape}")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        next(local_attributions(Broken(), windows((12, 14))))


def test_nothing_is_changed_while_the_caller_has_a_map():
    model = Noted()
    maps = local_attributions(model, windows((12, 14), (9, 16)), settings=FEW)
    with torch.inference_mode():
        next(maps)
        assert torch.is_inference_mode_enabled()
        assert model.training
        assert all(parameter.requires_grad for parameter in model.parameters())


def test_tf32_is_off_whatever_the_default(monkeypatch: pytest.MonkeyPatch):
    class Exact(Noted):
        def forward(self, x: Tensor) -> Tensor:
            assert not torch.backends.cudnn.allow_tf32
            assert not torch.backends.cuda.matmul.allow_tf32
            return super().forward(x)

    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    for _ in local_attributions(Exact(), windows((12, 14), (9, 16)), settings=FEW):
        assert torch.backends.cudnn.allow_tf32


def test_a_batch_takes_half_of_the_free_memory_of_a_gpu(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(attribution_batches, "free_bytes", lambda _: 80 * 10**9)
    assert attribution_batches._budget(torch.device("cuda")) == 40 * 10**9
    assert attribution_batches._budget(torch.device("cpu")) == 640 * 2**20


def test_no_windows_have_no_maps():
    assert list(local_attributions(Noted(), [])) == []
