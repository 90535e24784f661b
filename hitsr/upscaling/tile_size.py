"""How large a tile can be, given the free memory and what a network needs per pixel."""

import math

import torch
from torch import nn

from hitsr.models.backbone import SuperResolver
from hitsr.runtime.free_memory import free_bytes, is_out_of_memory
from hitsr.runtime.memory import watching
from hitsr.specs.network import NetworkSpec
from hitsr.upscaling.tiling import Forward, smallest_tiling

# A fixed limit: all machines with twice as much free memory use the same tiles, and so get the same
# pictures.
CEILING_BYTES = 3 * 10**9
# Memory that does not grow with the picture: strips, biases of large windows, kernels' workspaces.
_FIXED_BYTES = 25 * 10**7
_PROBE_SIDE = 256  # LR pixels


def tile_side_for_memory(
    model: nn.Module, forward: Forward, size: tuple[int, int], device: torch.device
) -> int | None:
    """The largest side of tiles that memory allows, in LR pixels; None if all of `size` fits.

    Half of the free memory is used, and at most 3 GB. The result is never below the network's
    smallest tile, even if memory seems not to suffice for it. The need per pixel is known for our
    networks in the fused formulation. For all others it is measured on 256x256 pixels; pictures of
    up to four times as many pixels are tried whole instead, without measuring.
    """
    known = model if isinstance(model, SuperResolver) and model.formulation == "fused" else None
    if known is None and math.prod(size) <= 4 * _PROBE_SIDE**2:
        return None
    per_pixel = estimated_bytes(known.network) if known else measured_bytes(forward, device)
    budget = min(CEILING_BYTES, free_bytes(device) // 2)
    pixels = max(0, budget - _FIXED_BYTES) // per_pixel
    if math.prod(size) <= pixels:
        return None
    return max(smallest_tiling(model).side, math.isqrt(pixels))


def estimated_bytes(network: NetworkSpec) -> int:
    """Upper bound of the memory per LR pixel of our networks: fused, float32, no gradients.

    The number of feature maps alive at once was measured with blocks that see the whole picture; on
    a CPU, where blocks work in strips, about half as many are.
    """
    feature_maps = 13 if network.mixer.kind == "correlation" else 15
    return feature_maps * network.width * torch.float32.itemsize


def measured_bytes(forward: Forward, device: torch.device) -> int:
    """Memory per LR pixel of any network, measured on a picture of noise."""
    noise = torch.rand(1, 3, _PROBE_SIDE, _PROBE_SIDE, generator=torch.Generator().manual_seed(0))
    with watching(device) as memory:
        try:
            forward(noise)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return CEILING_BYTES  # so much that the caller falls back to the smallest tile
        return max(1, memory.peak_bytes // _PROBE_SIDE**2)
