"""Convert pictures to tensors and back; put a network in eval mode for a block."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import numpy as np
import torch
from torch import Tensor, nn

from hitsr.base.errors import WeightsError
from hitsr.data.images import Picture, Samples, described

_INPUT_TYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model in eval mode inside the block; afterwards the mode of each part is as before."""
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in before:
            module.training = mode


def home_of(model: nn.Module) -> tuple[torch.device, torch.dtype]:
    """The device and floating-point type that a model's input must have.

    They are those of its parameters; without any, the CPU and float32. Raises ValueError if there
    are several of either, if there are no values (the meta device), and for another value than a
    module.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(
            f"model must be a torch.nn.Module, such as hitsr.create makes; got {described(model)}"
        )
    tensors = list(chain(model.parameters(), model.buffers()))
    devices = list(dict.fromkeys(tensor.device for tensor in tensors)) or [torch.device("cpu")]
    if len(devices) > 1 or devices[0].type == "meta":
        where = " and ".join(map(str, devices))
        raise ValueError(
            f"the model is on {where}; it must be on one device, with values: model.to('cpu')"
        )
    types = dict.fromkeys(p.dtype for p in model.parameters() if p.is_floating_point())
    if len(types) > 1 or not types.keys() <= set(_INPUT_TYPES):
        raise ValueError(
            f"the model's parameters are {' and '.join(map(str, types))}; they must all have one "
            "floating-point type, as after model.float()"
        )
    return devices[0], next(iter(types), torch.float32)


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
