"""Upscale pictures with a network, one at a time or a folder of pairs, into files to be scored."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from hitsr.data.bicubic import imresize
from hitsr.data.images import Picture, write_png
from hitsr.data.sources import pairs, read_pair
from hitsr.errors import WeightsError
from hitsr.methods import Control
from hitsr.progress import Progress

Method = Callable[[Picture, Picture], Picture]  # (lr, hr) -> sr


def upscale(model: nn.Module, lr: Picture) -> Picture:
    """Upscale one picture: (h, w, 3) uint8 -> (h*scale, w*scale, 3) uint8.

    In eval mode on the model's device, clamped to [0, 1] and rounded; a model in training goes
    back to training.
    """
    device = next(model.parameters()).device
    with evaluating(model), torch.inference_mode():
        return to_picture(model(to_batch(lr).to(device)))


def restore(
    model: nn.Module, folder: Path, scale: int, out: Path, *, quiet: bool = False
) -> tuple[Path, ...]:
    """Upscale the LR of every pair in a prepared folder into `out`/<name>.png; returns the files.

    Raises DataError for a missing, misnamed or misshaped picture, with those before it written.
    """
    return _restore(lambda lr, _: upscale(model, lr), folder, scale, out, quiet)


def restore_control(
    control: Control, folder: Path, scale: int, out: Path, *, quiet: bool = False
) -> tuple[Path, ...]:
    """As `restore`, without a network: MATLAB's bicubic, the least a network should reach, or the
    HR picture itself, the most it could."""
    method: dict[Control, Method] = {
        "bicubic": lambda lr, _: imresize(lr, scale),
        "hr": lambda _, hr: hr,
    }
    return _restore(method[control], folder, scale, out, quiet)


def _restore(method: Method, folder: Path, scale: int, out: Path, quiet: bool) -> tuple[Path, ...]:
    found = pairs(folder, scale)
    written = []
    with Progress(f"restore {out.name}", len(found), "picture", quiet) as progress:
        for pair in found:
            path = out / f"{pair.name}.png"
            write_png(path, method(*read_pair(pair, scale)))
            written.append(path)
            progress.advance()
    return tuple(written)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model in eval mode for the block, and back as it was."""
    before = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(before)


def to_batch(image: Picture) -> Tensor:
    """A picture as a batch of one: (h, w, 3) uint8 -> (1, 3, h, w) float32 in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None].float() / 255


def to_picture(batch: Tensor) -> Picture:
    """A batch of one as a picture: (1, 3, h, w) in [0, 1] -> (h, w, 3) uint8, clamped, rounded.

    Raises WeightsError where a sample is not finite.
    """
    if not batch.isfinite().all():
        raise WeightsError("the network's output is not finite: its weights diverged; train again")
    samples = (batch[0].clamp(0, 1) * 255).round().to(torch.uint8)
    return samples.permute(1, 2, 0).contiguous().cpu().numpy()
