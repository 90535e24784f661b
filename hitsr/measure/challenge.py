"""Measure a network as the test code of the NTIRE challenge on efficient super-resolution does.

Read from https://github.com/Amazingren/NTIRE2025_ESR (test_demo.py, utils/model_summary.py). Each
picture is read, upscaled once between two events, and scored on RGB, before the next is read. There
is no warm-up: the first forward, which loads kernels, is in the mean. Convolutions use TF32, as
PyTorch's defaults do, and cuDNN does not try its algorithms. `docs/protocol.md` has the rest.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from math import isfinite
from pathlib import Path

import torch
from torch import Tensor, nn

from hitsr.base.errors import DataError
from hitsr.data.images import crop_to_multiple, list_pictures, read_image, size_text
from hitsr.measure.forwards import Work, clock_of, explaining
from hitsr.measure.metrics import psnr
from hitsr.records import EntryRun
from hitsr.runtime.memory import watching
from hitsr.runtime.precision import challenge_settings, settings
from hitsr.runtime.tensors import to_batch, to_picture

SCALE = 4
COUNTED_SIDE = 256  # of the LR picture of which FLOPs and activations are counted

Pair = tuple[Path, Path | None]  # an LR picture, and the HR picture that it is scored against


class _Kept(nn.Module):
    """A network that keeps its output until that is taken."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.out: Tensor | None = None

    def forward(self, pictures: Tensor) -> Tensor:
        out: Tensor = self.model(pictures)
        self.out = out
        return out

    def take(self) -> Tensor:
        """The output, which is no longer held, so that it is not there during the next forward."""
        out, self.out = self.out, None
        assert out is not None
        return out


def pairs_of(lr: Path, hr: Path | None) -> list[Pair]:
    """Pictures in the challenge's order, that of the names of HR pictures.

    `0801.png` is the HR of `0801x4.png`, or of `0801.png`. Raises DataError for an HR picture
    without an LR picture, and the reverse.
    """
    found = list_pictures(lr)
    if hr is None:
        return [(path, None) for path in found.values()]
    made: list[Pair] = []
    for name, path in list_pictures(hr).items():
        stem = next((each for each in (f"{name}x{SCALE}", name) if each in found), None)
        if stem is None:
            raise DataError(f"{lr}: no LR picture for {path}; it must be named {name}x{SCALE}")
        made.append((found.pop(stem), path))
    if found:
        raise DataError(f"{next(iter(found.values()))}: no HR picture in {hr} belongs to it")
    return made


def run_once(
    make: Callable[[], nn.Module], pairs: Sequence[Pair], device: torch.device, threads: int
) -> EntryRun:
    """One run of the test code, in this process, which should be a fresh one.

    Weights need no gradient, and autograd is on, as there. Raises DataError for a picture whose SR
    has another size than its HR, and SpecError if the network cannot run.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    clock, timed = clock_of(device)
    times_ms, scores = list[float](), list[float | None]()
    with ExitStack() as stack:
        stack.enter_context(challenge_settings())
        memory = stack.enter_context(watching(device))
        model = _Kept(make().eval().requires_grad_(False).to(device))
        for lr, hr in pairs:
            picture = to_batch(read_image(lr)).to(device)
            with explaining(Work((picture.shape[3], picture.shape[2]), device)):
                times_ms.append(timed(model, picture))
            out = model.take()
            if hr is not None:
                scores.append(_psnr_db(out, lr, hr))
            del out
        return EntryRun(
            times_ms=tuple(times_ms),
            psnr_db=tuple(scores) or None,
            peak_memory_bytes=memory.peak_bytes,
            memory_kind=memory.kind,
            clock=clock,
            settings=settings(device),
        )


def _psnr_db(out: Tensor, lr: Path, hr: Path) -> float | None:
    """On 8-bit RGB, without four pixels at each side; None for identical pictures."""
    sr, whole = to_picture(out), read_image(hr)
    cropped = crop_to_multiple(whole, SCALE)
    if sr.shape != cropped.shape:
        raise DataError(
            f"{lr}: its SR is {size_text(sr)}, but {hr} is {size_text(whole)}, not {SCALE} times "
            "the size of the LR picture"
        )
    found = psnr(sr, cropped, border=SCALE, channel="rgb")
    return found if isfinite(found) else None
