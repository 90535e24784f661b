"""Count a network's parameters and FLOPs as fvcore does, in seconds instead of minutes.

Papers report fvcore's FLOPs: one per multiply-accumulate, and five per LayerNorm element. fvcore
traces a forward of real tensors. The `torch` counter uses the formulas built into torch on the meta
device, which computes shapes but no values. Tests check that both give the same integer.
"""

import copy
import warnings
from collections import Counter
from collections.abc import Callable
from itertools import chain
from typing import Literal

import torch
from torch import nn

from hitsr.base.errors import SpecError
from hitsr.measure.census import Census
from hitsr.records import Complexity, ModuleCost

FlopCounter = Literal["torch", "fvcore"]
Refuse = Callable[[str], None]  # operator name -> raises ValueError if it is not allowed

# Products that torch counts and fvcore silently ignores; fused formulations use them.
_TORCH_ONLY = ("scaled_dot_product_attention", "baddbmm")
# Operators that torch and fvcore count differently, so they are refused.
_REFUSED = {
    "einsum": "fvcore rounds it to four digits",
    **dict.fromkeys(("mv", "dot", "addmv", "addbmm"), "fvcore does not count it"),
    **dict.fromkeys(
        ("adaptive_avg_pool2d", "batch_norm", "group_norm", "instance_norm", "grid_sampler",
         "upsample_nearest2d", "upsample_bilinear2d"),
        "fvcore counts it, torch does not",
    ),
}  # fmt: skip


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
    and runs a copy on the meta device, without memory for values, unless the size of some tensor
    depends on values. The `fvcore` counter runs a copy on the CPU and counts FLOPs only. The model
    itself is not changed.

    The counters differ in two cases. In a batched matrix product with a broadcast first factor,
    fvcore counts one product of the batch, torch all. The attention and baddbmm operators of fused
    formulations are counted by `torch` only, as the matrix products they consist of.

    Raises ValueError for an operator that `counter` cannot count, or that the two count
    differently. Unless `strict` (for users' own networks), such operators are counted as `counter`
    does, or listed as uncounted.
    """
    refuse = _refuse if strict else _allow
    if counter == "torch":
        return _by_torch(model, input_size, refuse)
    return _by_fvcore(model, input_size, refuse)


def _by_torch(model: nn.Module, input_size: tuple[int, int], refuse: Refuse) -> Complexity:
    try:
        census = _census(model, input_size, "meta", refuse)
    except RuntimeError as error:
        # The size of some tensor depends on values (e.g. of nonzero), which the meta device lacks.
        if _on_meta_device(model):
            raise ValueError(f"cannot count on meta device: {error}; use real weights") from error
        census = _census(model, input_size, "cpu", refuse)
    return Complexity(
        counter="torch",
        params=_params(model),
        flops=census.flops.total(),
        flops_by_operator=_sorted(census.flops),
        uncounted=_sorted(census.uncounted),
        activations=census.activations.total(),
        activations_by_operator=_sorted(census.activations),
        peak_activation_bytes=census.memory.peak_bytes,
        peak_activation_at=census.memory.peak_at,
        modules=_modules(model, census.flops_by_module, census.activations_by_module),
    )


def _census(model: nn.Module, input_size: tuple[int, int], device: str, refuse: Refuse) -> Census:
    """Count all operators of a forward on a device."""
    copied = copy.deepcopy(model).to(device).eval()
    picture = torch.zeros(_shape(input_size), device=device)
    census = Census(copied, refuse)
    census.memory.ignore(chain([picture], copied.parameters(), copied.buffers()))
    # In inference mode a composite operator arrives whole, under the name that fvcore would see.
    with torch.inference_mode(), census:
        copied(picture)
    return census


def _by_fvcore(model: nn.Module, input_size: tuple[int, int], refuse: Refuse) -> Complexity:
    if _on_meta_device(model):
        raise ValueError("fvcore needs a model with real weights, not one on the meta device")
    copied = copy.deepcopy(model).to("cpu").eval()
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
        refuse(name)
    return Complexity(
        counter="fvcore",
        params=_params(model),
        flops=flops.total(),
        flops_by_operator=_sorted(flops),
        uncounted=_sorted(uncounted),
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


def _allow(_name: str) -> None:
    """Refuse no operator."""


def _refuse(name: str) -> None:
    """Raise ValueError for an operator that torch and fvcore count differently."""
    if name in _REFUSED:
        raise ValueError(
            f"cannot count {name}: {_REFUSED[name]}; count the paper formulation, "
            "or write it as matrix products"
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
