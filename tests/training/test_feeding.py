"""Copies to a GPU, by a stand-in for it that is as slow as it may be."""

from collections.abc import Iterable, Iterator
from contextlib import closing, nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hitsr.data.patches import Patches
from hitsr.training import feeding
from hitsr.training.feeding import as_batch, fed

CPU = torch.device("cpu")


def _patches(batch: int = 3) -> Patches:
    hr = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    return Patches([(hr[::2, ::2], hr)], scale=2, patch=4, batch=batch, seed=1)


class SlowGpu(feeding._Copies):
    """Begins nothing before it must: copies run when the host waits for one that came later.

    `order` notes what is done, with the number of the copy.
    """

    def __init__(self) -> None:
        self.order: list[tuple[str, int]] = []
        self._waiting: list[tuple[Tensor, Tensor]] = []  # destination, source
        self._started = 0

    def buffer(self, shapes: Iterable[tuple[int, ...]]) -> Any:
        lr, hr = (torch.zeros(shape, dtype=torch.uint8) for shape in shapes)
        return feeding._Buffer(lr, hr, _Event(self))

    def start(self, buffer: Any) -> tuple[Tensor, Tensor]:
        copies = torch.empty_like(buffer.lr), torch.empty_like(buffer.hr)
        self._waiting += [(copies[0], buffer.lr), (copies[1], buffer.hr)]
        buffer.copied.up_to = len(self._waiting)
        self.order.append(("copy", self._started))
        self._started += 1
        return copies

    def finished(self, buffer: Any, samples: tuple[Tensor, Tensor]) -> Any:  # noqa: ARG002
        return samples  # filled later: who uses them waits on the device, not on the host

    def run(self, up_to: int | None = None) -> None:
        """Copy now what waits."""
        for index, (destination, source) in enumerate(self._waiting[:up_to]):
            if source is not destination:
                destination.copy_(source)
                self._waiting[index] = (destination, destination)


class _Event:
    def __init__(self, gpu: SlowGpu) -> None:
        self.gpu, self.up_to = gpu, 0

    def synchronize(self) -> None:
        self.gpu.run(self.up_to)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> SlowGpu:
    made = SlowGpu()
    monkeypatch.setattr(feeding, "_Copies", lambda _: made)
    return made


def test_no_buffer_is_cut_into_before_it_was_copied(gpu: SlowGpu) -> None:
    patches, steps = _patches(), range(5, 45)
    with fed(patches, steps, torch.device("cuda", 0)) as batches:
        samples = list(batches)
    gpu.run()
    for step, found in zip(steps, samples, strict=True):
        expected = tuple(torch.empty(shape, dtype=torch.uint8) for shape in patches.shapes)
        patches.cut(step, *(each.numpy() for each in expected))
        assert all(map(torch.equal, found, expected))


def test_the_next_batch_is_being_copied_when_a_step_begins(gpu: SlowGpu) -> None:
    def steps() -> Iterator[None]:
        with fed(_patches(), range(4), torch.device("cuda", 0)) as batches:
            for number, _ in enumerate(batches):
                gpu.order.append(("step", number))
                yield

    with closing(steps()) as taken:
        list(taken)
    assert gpu.order == [
        ("copy", 0), ("copy", 1), ("step", 0), ("copy", 2), ("step", 1), ("copy", 3), ("step", 2),
        ("step", 3),
    ]  # fmt: skip


def test_on_a_cpu_batches_are_those_of_the_patches() -> None:
    patches = _patches()
    with fed(patches, range(1, 4), CPU) as batches:
        for step, found in enumerate(batches, 1):
            for tensor, array in zip(found, patches.at(step), strict=True):
                assert tensor.numpy().tobytes() == array.tobytes()


def test_bytes_become_the_floats_of_the_patches_bit_for_bit() -> None:
    patches = _patches(batch=64)
    samples = tuple(np.empty(shape, np.uint8) for shape in patches.shapes)
    patches.cut(2, *samples)
    for each, array in zip(samples, patches.at(2), strict=True):
        found = as_batch(torch.from_numpy(each), torch.tensor(255.0))
        assert found.is_contiguous()
        assert found.numpy().tobytes() == array.tobytes()
    assert len(np.unique(samples[1])) == 256


def test_copies_run_on_a_stream_that_only_the_batch_waits_for(monkeypatch: pytest.MonkeyPatch):
    """The calls of CUDA, in order, on tensors that stay on the CPU."""
    calls: list[str] = []

    class Stream:
        def __init__(self, device: torch.device | None = None) -> None:
            self.name = "compute" if device is None else "copy"

        def wait_event(self, event: "Event") -> None:
            calls.append(f"{self.name} waits for {event.name}")

    class Event:
        name = "event"

        def record(self, stream: Stream) -> None:
            calls.append(f"{self.name} on {stream.name}")

    def stream(entered: Stream) -> Any:
        calls.append(f"enter {entered.name}")
        return nullcontext()

    plain_empty = torch.empty

    def empty(*size: Any, pin_memory: bool = False, **options: Any) -> Tensor:
        if pin_memory:
            calls.append("page-locked memory")
        return plain_empty(*size, **options)

    fakes = {"Stream": Stream, "Event": Event, "stream": stream}
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: Stream())
    monkeypatch.setattr(torch, "empty", empty)
    noted = lambda _, stream: calls.append(f"memory of {stream.name}")  # noqa: E731
    monkeypatch.setattr(Tensor, "record_stream", noted)

    patches, copies = _patches(), feeding._Copies(CPU)
    buffer = copies.buffer(patches.shapes)
    patches.cut(3, buffer.lr.numpy(), buffer.hr.numpy())
    assert calls == ["page-locked memory"] * 2
    calls.clear()
    started = copies.start(buffer)
    assert calls == ["enter copy", "event on copy"]
    calls.clear()
    for found, expected in zip(copies.finished(buffer, started), patches.at(3), strict=True):
        assert found.numpy().tobytes() == expected.tobytes()
    assert calls == ["compute waits for event", "memory of compute", "memory of compute"]
