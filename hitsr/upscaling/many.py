"""Upscale many pictures: those of one size together on CUDA, read and written meanwhile."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hitsr.base.errors import HitsrError
from hitsr.data.images import Samples
from hitsr.runtime.free_memory import is_out_of_memory
from hitsr.runtime.precision import computing
from hitsr.runtime.tensors import evaluating, home_of, to_batch
from hitsr.upscaling.in_order import AtOnce, Size
from hitsr.upscaling.inference import (
    Runner,
    ToSamples,
    UpscaleOptions,
    go_on,
    tiling_of,
    upscale_samples,
)


def most_waiting(model: nn.Module) -> int:
    """How many pictures to read ahead of a network, and how many to let wait to be written.

    A GPU is faster than one thread that encodes PNG; beside a CPU's work, memory counts more.
    """
    return 1 if home_of(model)[0].type == "cpu" else 8


def pictures_at_once(model: nn.Module, options: UpscaleOptions) -> AtOnce:
    """How many pictures of a size to give to `upscale_alike`: one where it goes in tiles."""
    runner = Runner(model, options)
    one_by_one = Runner(model, options, one_by_one=True)

    def at_once(size: Size) -> int:
        with evaluating(model), torch.inference_mode():
            most = runner.at_once(size)
            return most if most == 1 or tiling_of(one_by_one, size) is None else 1

    return at_once


def upscale_alike(
    model: nn.Module,
    pictures: Sequence[Samples],
    conversions: Sequence[ToSamples],
    options: UpscaleOptions,
    *,
    quiet: bool = False,
) -> list[Samples | HitsrError]:
    """Upscale pictures of one height and width, as many as `pictures_at_once` says, together.

    Details as `upscale_samples`, but float32 is without TF32, and each picture fails alone: its
    error stands for it. If memory runs out, and to find pictures that fail, they are halved.
    """
    with computing("float32", home_of(model)[0]):
        return _alike(model, pictures, conversions, options, quiet)


def _alike(
    model: nn.Module,
    pictures: Sequence[Samples],
    conversions: Sequence[ToSamples],
    options: UpscaleOptions,
    quiet: bool,
) -> list[Samples | HitsrError]:
    if not pictures:
        return []
    if len(pictures) == 1:
        try:
            return [upscale_samples(model, pictures[0], conversions[0], options, quiet=quiet)]
        except HitsrError as error:
            return [error]
    outputs: Tensor | None = None
    runner, ran_out = Runner(model, options), False
    with evaluating(model), torch.inference_mode():
        try:
            outputs = runner(torch.cat([to_batch(each) for each in pictures]))
        except HitsrError:
            pass
        except (MemoryError, RuntimeError) as error:
            ran_out = is_out_of_memory(error)
            if not ran_out:
                raise
    if outputs is not None:
        return [
            _attempted(convert, output)
            for convert, output in zip(conversions, outputs.split(1), strict=True)
        ]
    half = len(pictures) // 2
    if ran_out:
        go_on(runner.device, f"with {half} pictures at a time", quiet)
    return [
        found
        for part in (slice(half), slice(half, None))
        for found in _alike(model, pictures[part], conversions[part], options, quiet)
    ]


def _attempted(convert: ToSamples, output: Tensor) -> Samples | HitsrError:
    try:
        return convert(output)
    except HitsrError as error:
        return error
