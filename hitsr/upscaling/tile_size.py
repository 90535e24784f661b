"""How large a part of a picture a network can take at a time in the memory that is free."""

import math

import torch
from torch import nn

from hitsr.models.backbone import SuperResolver
from hitsr.runtime.free_memory import free_bytes, is_out_of_memory
from hitsr.runtime.memory import watching
from hitsr.specs.network import NetworkSpec
from hitsr.upscaling.tiling import Forward, smallest

# Fixed, so that wherever twice as much is free, tiles and with them the pictures are the same.
CEILING_BYTES = 3 * 10**9
# What does not grow with the picture: strips of blocks, biases of large windows, kernels' own.
_FIXED_BYTES = 25 * 10**7
_PROBED_SIDE = 256  # LR pixels


def side_at_hand(
    model: nn.Module, forward: Forward, size: tuple[int, int], device: torch.device
) -> int | None:
    """The side of tiles that memory allows, in LR pixels; None if all of `size` fits.

    Half of what is free is used, and at most 3 GB. The network's smallest tile is worth a try
    whatever the estimate. What other networks than ours and the paper formulation need is measured
    on 256x256 pixels, where a picture has more than four times as many.
    """
    known = model if isinstance(model, SuperResolver) and model.formulation == "fused" else None
    if known is None and math.prod(size) <= 4 * _PROBED_SIDE**2:
        return None
    per_pixel = estimated_bytes(known.network) if known else probed_bytes(forward, device)
    budget = min(CEILING_BYTES, free_bytes(device) // 2)
    pixels = max(0, budget - _FIXED_BYTES) // per_pixel
    return None if math.prod(size) <= pixels else max(smallest(model).side, math.isqrt(pixels))


def estimated_bytes(network: NetworkSpec) -> int:
    """What one LR pixel takes at most in a forward of our networks: fused, float32, no gradients.

    Features held at once, as measured where blocks see the whole picture. By strips, on a CPU, it
    is about half of that.
    """
    held = 13 if network.mixer.kind == "correlation" else 15
    return held * network.width * torch.float32.itemsize


def probed_bytes(forward: Forward, device: torch.device) -> int:
    """What one LR pixel takes in a forward of any network, measured on a picture of noise."""
    noise = torch.rand(1, 3, _PROBED_SIDE, _PROBED_SIDE, generator=torch.Generator().manual_seed(0))
    with watching(device) as memory:
        try:
            forward(noise)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return CEILING_BYTES  # more than there is, for so few: leaves the smallest tile
        return max(1, memory.peak_bytes // _PROBED_SIDE**2)
