"""Convert pictures to tensors and back; put a network in eval mode for a block."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from hitsr.base.errors import WeightsError
from hitsr.data.images import Picture, Samples


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model in eval mode inside the block; afterwards its mode is as before."""
    before = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(before)


def to_batch(samples: Samples) -> Tensor:
    """A picture as a batch of one: (h, w) or (h, w, 3) -> (1, 3, h, w) float32 in [0, 1].

    Grey becomes three equal channels. Samples are divided by 255 (uint8) or 65535 (uint16).
    """
    floats = samples.astype(np.float32) / np.iinfo(samples.dtype).max
    rgb = np.repeat(floats[None], 3, 0) if samples.ndim == 2 else floats.transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(rgb))[None]


def check_finite(output: Tensor) -> None:
    """Raise WeightsError if a sample of a network's output is not finite."""
    if not output.isfinite().all():
        raise WeightsError("the network's output is not finite: its weights diverged; train again")


def to_picture(batch: Tensor) -> Picture:
    """A batch of one as a picture: (1, 3, h, w) in [0, 1] -> (h, w, 3) uint8, clamped, rounded.

    Raises WeightsError if a sample is not finite.
    """
    check_finite(batch)
    samples = (batch[0].clamp(0, 1) * 255).round().to(torch.uint8)
    return samples.permute(1, 2, 0).contiguous().cpu().numpy()
