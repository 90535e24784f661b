"""Count a network's parameters and FLOPs as fvcore does, in seconds instead of minutes.

Papers report fvcore's FLOPs: one per multiply-accumulate, and five per LayerNorm element. fvcore
traces a forward of real tensors. The `torch` counter uses the formulas built into torch on the meta
device, which computes shapes but no values. Tests check that both give the same integer.
"""

import copy
import warnings
from collections import Counter
from typing import Literal

import torch
from torch import nn

from hitsr.base.errors import SpecError
from hitsr.measure.census import Census
from hitsr.records import Complexity, ModuleCost

FlopCounter = Literal["torch", "fvcore"]

# Products that torch counts and fvcore silently ignores; fused formulations use them.
_TORCH_ONLY = ("scaled_dot_product_attention", "baddbmm")
# An operator that torch and fvcore count differently, so it is refused.
_REFUSED = {"einsum": "fvcore rounds it to four digits"}


def input_size_for(output_size: tuple[int, int], scale: int) -> tuple[int, int]:
    """The LR (width, height) for an output (width, height): 427x240 for 1280x720 at x3.

    Sides are rounded to whole LR pixels, as in published counts. Raises SpecError for an output of
    less than one.
    """
    width, height = (round(side / scale) for side in output_size)
    if not (width and height):
        shown = "x".join(map(str, output_size))
        raise SpecError(f"output size {shown}: less than one LR pixel at x{scale}")
    return width, height


def count(
    model: nn.Module,
    input_size: tuple[int, int],
    counter: FlopCounter = "torch",
    *,
    strict: bool = True,
) -> Complexity:
    """Cost of the first forward of a model, in eval mode, on one picture of (width, height).

    The `torch` counter also counts activations and peak memory. It takes a model on any device,
    and runs a copy on the meta device, without memory for values, unless the model cannot run
    there. The `fvcore` counter runs a copy on the CPU and counts FLOPs only. The model itself is
    not changed. `torch` counts compiled parts as they are without the compiler; fvcore cannot trace
    them.

    The counters differ in two cases. In a batched matrix product with a broadcast first factor,
    fvcore counts one product of the batch, torch all. The attention and baddbmm operators of fused
    formulations are counted by `torch` only, as the matrix products they consist of.

    Raises ValueError for an operator that the two count differently, and for operators and kernels
    that may compute products which nothing counts: operators of other libraries, Triton kernels,
    replayed CUDA graphs, code outside PyTorch. Unless `strict` (for users' own networks), the
    former are counted as `counter` does, and the latter listed as unknown.
    """
    if counter == "torch":
        return _by_torch(model, input_size, strict)
    return _by_fvcore(model, input_size, strict)


def _by_torch(model: nn.Module, input_size: tuple[int, int], strict: bool) -> Complexity:
    census = take_census(model, input_size)
    if strict:
        _refuse(census.seen, census.unknown)
    return Complexity(
        counter="torch",
        params=_params(model),
        flops=census.flops.total(),
        flops_by_operator=_sorted(census.flops),
        uncounted=_sorted(census.uncounted),
        unknown=_sorted(census.unknown),
        activations=census.activations.total(),
        activations_by_operator=_sorted(census.activations),
        peak_activation_bytes=census.memory.peak_bytes,
        peak_activation_at=census.memory.peak_at,
        modules=_modules(model, census.flops_by_module, census.activations_by_module),
    )


def take_census(model: nn.Module, input_size: tuple[int, int]) -> Census:
    """Count all operators of a forward, on the first device that can run it.

    Sizes that depend on values (e.g. of nonzero) need the CPU, and some kernels a GPU.
    """
    devices = ["meta"]
    if not _on_meta_device(model):
        devices += ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    for device in devices:
        try:
            copied = copy.deepcopy(model).to(device).eval()
            return Census(copied, torch.zeros(_shape(input_size), device=device))
        except Exception as error:  # a user's own network may raise anything
            if device != devices[-1]:
                continue
            if device == "meta":
                raise ValueError(
                    f"cannot count on meta device: {error}; use real weights"
                ) from error
            raise
    raise AssertionError("no device")


def _by_fvcore(model: nn.Module, input_size: tuple[int, int], strict: bool) -> Complexity:
    if _on_meta_device(model):
        raise ValueError("fvcore needs a model with real weights, not one on the meta device")
    copied = copy.deepcopy(model).to("cpu").eval()
    census = take_census(copied, input_size)  # fvcore does not see kernels
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # about tracing, and from fvcore's own old code
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(copied, torch.zeros(_shape(input_size)))
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        analysis.tracer_warnings("none")
        flops, by_module = _integers(analysis.by_operator()), _integers(analysis.by_module())
        unsupported = analysis.unsupported_ops()
    uncounted = Counter({name.removeprefix("aten::"): n for name, n in unsupported.items()})
    for name in (*flops, *uncounted):
        if name in _TORCH_ONLY:
            raise ValueError(
                f"fvcore cannot count {name}; use the torch counter, or the paper formulation"
            )
    # Names that still have a namespace: custom operators, and autograd functions of users.
    foreign = Counter({name: n for name, n in uncounted.items() if "::" in name})
    unknown = Counter[str](census.unknown | foreign)
    if strict:
        _refuse(Counter([*flops, *uncounted]), unknown)
    return Complexity(
        counter="fvcore",
        params=_params(model),
        flops=flops.total(),
        flops_by_operator=_sorted(flops),
        uncounted=_sorted(uncounted - unknown),
        unknown=_sorted(unknown),
        modules=_modules(model, by_module, None),
    )


def _modules(
    model: nn.Module, flops: Counter[str], activations: Counter[str] | None
) -> tuple[ModuleCost, ...]:
    """The cost of every module except the model itself."""
    return tuple(
        ModuleCost(
            name=name,
            kind=type(module).__name__,
            params=_params(module),
            flops=flops[name],
            activations=None if activations is None else activations[name],
        )
        for name, module in model.named_modules()
        if name
    )


def _refuse(seen: Counter[str], unknown: Counter[str]) -> None:
    """Raise ValueError if some operator may be counted wrongly, or not at all."""
    for name in filter(_REFUSED.__contains__, seen):
        raise ValueError(
            f"cannot count {name}: {_REFUSED[name]}; count the paper formulation, "
            "or write it as matrix products"
        )
    if unknown:
        raise ValueError(
            f"cannot count {', '.join(sorted(unknown))}: it may compute products that no counter "
            "sees; count the paper formulation, or write it as matrix products"
        )


def _on_meta_device(model: nn.Module) -> bool:
    return any(parameter.is_meta for parameter in model.parameters())


def _params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _integers(counted: Counter[str]) -> Counter[str]:
    return Counter({name: int(flops) for name, flops in counted.items()})


def _sorted(counted: Counter[str]) -> dict[str, int]:
    return dict(sorted(counted.items()))


def _shape(input_size: tuple[int, int]) -> tuple[int, int, int, int]:
    width, height = input_size
    return 1, 3, height, width
