"""How large a tile can be, and how many pictures can go through a network at once.

Both follow from the free memory and from what a network needs per pixel.
"""

import math
from typing import TypeGuard

import torch
from torch import nn

from hitsr.models.backbone import SuperResolver
from hitsr.runtime.free_memory import free_bytes, is_out_of_memory
from hitsr.runtime.memory import watching
from hitsr.specs.network import NetworkSpec, Scale
from hitsr.upscaling.ensemble import Forward
from hitsr.upscaling.tiling import smallest_tiling

# A fixed limit: all machines with twice as much free memory use the same tiles, and so get the same
# pictures.
CEILING_BYTES = 3 * 10**9
# Memory that does not grow with the picture: strips, biases of large windows, kernels' workspaces.
_FIXED_BYTES = 25 * 10**7
_PROBE_SIDE = 256  # LR pixels
_UPSAMPLED = {"one_step": 3, "two_stage": 64}  # channels at the size of the output


def tile_side_for_memory(
    model: nn.Module, forward: Forward, size: tuple[int, int], device: torch.device
) -> int | None:
    """The largest side of tiles that memory allows, in LR pixels; None if all of `size` fits.

    Half of the free memory is used, and at most 3 GB. The result is never below the network's
    smallest tile, even if memory seems not to suffice for it. The need is known for our networks in
    the fused formulation. For all others it is measured on as many pixels as 256x256, of the
    picture's height or width if that is less; pictures of up to four times as many pixels are tried
    whole instead, without measuring, a side below 256 counted as 256.
    """
    budget = _budget(device)
    if _is_known(model):
        itemsize = next(model.parameters()).dtype.itemsize
        if picture_bytes(model.network, model.scale, size, itemsize) <= budget:
            return None
        per_pixel = estimated_bytes(model.network, model.scale, itemsize)
        whole_windows = max(model.network.multiples)
    else:
        if math.prod(max(side, _PROBE_SIDE) for side in size) <= 4 * _PROBE_SIDE**2:
            return None
        per_pixel, whole_windows = measured_bytes(forward, size, device), 1
        if math.prod(size) * per_pixel <= budget - _FIXED_BYTES:
            return None
    side = math.isqrt(max(0, budget - _FIXED_BYTES) // per_pixel) // whole_windows * whole_windows
    return max(smallest_tiling(model).side, side)


def batch_for_memory(
    model: nn.Module, forward: Forward, size: tuple[int, int], device: torch.device
) -> int:
    """How many pictures of `size` can go through the network at once: as tiles, in 3 GB.

    More than one only on CUDA, where small pictures alone leave the GPU idle. On a CPU the strips
    of one picture fill the cache; and a compiled network would be compiled anew. The need of a
    picture is known or measured as `tile_side_for_memory` says.
    """
    if device.type != "cuda" or model._compiled_call_impl is not None:
        return 1
    if _is_known(model):
        itemsize = next(model.parameters()).dtype.itemsize
        needed = picture_bytes(model.network, model.scale, size, itemsize) - _FIXED_BYTES
    else:
        needed = math.prod(size) * measured_bytes(forward, size, device)
    return max(1, (_budget(device) - _FIXED_BYTES) // needed)


def _budget(device: torch.device) -> int:
    return min(CEILING_BYTES, free_bytes(device) // 2)


def _is_known(model: nn.Module) -> TypeGuard[SuperResolver]:
    """Whether what the network needs per pixel has been measured."""
    return isinstance(model, SuperResolver) and model.formulation == "fused"


def picture_bytes(
    network: NetworkSpec, scale: Scale, size: tuple[int, int], itemsize: int = 4
) -> int:
    """Memory for a picture of (height, width) LR pixels: our networks, fused, no gradients.

    Pictures are padded to whole windows, in all features or in mixers alone (`padding`). Thin ones
    need most of their memory for that: 8 pixels become 64. `itemsize` is that of the weights.
    """
    multiple = max(network.multiples)
    padded = math.prod(-(-side // multiple) * multiple for side in size)
    pixels = padded if network.padding == "picture" else math.prod(size)
    # Feature maps inside a mixer, as measured on pictures of 8 rows.
    in_mixer = 10 if network.mixer.kind != "correlation" else 6 if network.context else 8
    in_padding = in_mixer * network.width * itemsize * (padded - pixels)
    return estimated_bytes(network, scale, itemsize) * pixels + in_padding + _FIXED_BYTES


def estimated_bytes(network: NetworkSpec, scale: Scale = 2, itemsize: int = 4) -> int:
    """Memory per LR pixel, of the blocks, or of the upsampler if that is more.

    The number of feature maps alive at once was measured with blocks that see the whole picture; on
    a CPU, where blocks work in strips, about half as many are. An upsampler needs two and a half
    times its output beside five feature maps.
    """
    blocks = (13 if network.mixer.kind == "correlation" else 15) * network.width
    upsampler = 5 * network.width + 5 * _UPSAMPLED[network.upsampler] * scale**2 // 2
    return max(blocks, upsampler) * itemsize


def measured_bytes(forward: Forward, size: tuple[int, int], device: torch.device) -> int:
    """Memory per LR pixel of any network, measured on noise of the picture's proportions.

    A side below 256 pixels is kept: what it is padded to counts for every pixel.
    """
    short = min(*size, _PROBE_SIDE)
    long = min(max(size), _PROBE_SIDE**2 // short)
    height, width = (short, long) if size[0] <= size[1] else (long, short)
    noise = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    with watching(device) as memory:
        try:
            forward(noise)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return CEILING_BYTES  # so much that the caller falls back to the smallest tile
        return max(1, memory.peak_bytes // (height * width))
