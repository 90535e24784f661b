"""From pictures to tensors and back, and networks in eval mode for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from hitsr.base.errors import WeightsError
from hitsr.data.images import Picture, Samples


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model in eval mode for the block, and back as it was."""
    before = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(before)


def to_batch(samples: Samples) -> Tensor:
    """A picture as a batch of one: (h, w) or (h, w, 3) -> (1, 3, h, w) float32 in [0, 1].

    Grey becomes three equal channels; uint8 and uint16 are divided by their largest value.
    """
    floats = samples.astype(np.float32) / np.iinfo(samples.dtype).max
    rgb = np.repeat(floats[None], 3, 0) if samples.ndim == 2 else floats.transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(rgb))[None]


def to_picture(batch: Tensor) -> Picture:
    """A batch of one as a picture: (1, 3, h, w) in [0, 1] -> (h, w, 3) uint8, clamped, rounded.

    Raises WeightsError where a sample is not finite.
    """
    if not batch.isfinite().all():
        raise WeightsError("the network's output is not finite: its weights diverged; train again")
    samples = (batch[0].clamp(0, 1) * 255).round().to(torch.uint8)
    return samples.permute(1, 2, 0).contiguous().cpu().numpy()
