"""Count a network's parameters and FLOPs: what fvcore counts, in seconds instead of minutes.

The field's FLOPs are fvcore's: one per multiply-accumulate, and five per LayerNorm element. fvcore
traces a forward of real tensors. The `torch` counter asks torch's own formulas on the meta device,
where shapes are computed and samples are not; tests hold the two to the same integer.
"""

import copy
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Literal

import torch
from torch import nn

from hitsr.measure.census import Census
from hitsr.records import Complexity, ModuleCost

Method = Literal["torch", "fvcore"]
Refuse = Callable[[str], None]

_PRODUCTS = ("scaled_dot_product_attention", "baddbmm")  # torch counts them, fvcore sees nothing
# Of what remains the two would count something else without a word.
_REFUSED = {
    "einsum": "fvcore rounds it to four digits",
    **dict.fromkeys(("mv", "dot", "addmv", "addbmm"), "fvcore sees nothing of it"),
    **dict.fromkeys(
        ("adaptive_avg_pool2d", "batch_norm", "group_norm", "instance_norm", "grid_sampler",
         "upsample_nearest2d", "upsample_bilinear2d"),
        "fvcore counts it, torch does not",
    ),
}  # fmt: skip


def input_size_for(output_size: tuple[int, int], scale: int) -> tuple[int, int]:
    """The (width, height) of the LR picture for an output size: 427x240 for 1280x720 at x3."""
    width, height = (round(side / scale) for side in output_size)
    return width, height


def count(
    model: nn.Module,
    input_size: tuple[int, int],
    counter: Method = "torch",
    *,
    strict: bool = True,
) -> Complexity:
    """What one picture of (width, height) `input_size` costs in eval mode, first forward.

    `torch` takes weights on any device, and needs no memory to speak of unless a size depends on
    samples; `fvcore` runs a copy of the model on the CPU and tells FLOPs alone. The model itself is
    left as it is. Of a matrix product whose first factor is broadcast, fvcore counts one of the
    batch; torch counts all. The attention and batched products of fused formulations only `torch`
    counts, as the products that they stand for.

    Raises ValueError for an operator that `counter` does not count, or not as the other one does;
    if not `strict`, as for networks of unknown make, it is counted as `counter` does, or listed.
    """
    refuse = _refuse if strict else _allow
    if counter == "torch":
        return _by_torch(model, input_size, refuse)
    return _by_fvcore(model, input_size, refuse)


def _by_torch(model: nn.Module, input_size: tuple[int, int], refuse: Refuse) -> Complexity:
    try:
        census = _census(model, input_size, "meta", refuse)
    except RuntimeError as error:
        # Some sizes depend on samples (nonzero), and the meta device has none.
        if _has_no_samples(model):
            raise ValueError(f"cannot count without samples: {error}; use real weights") from error
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
    shadow = copy.deepcopy(model).to(device).eval()
    picture = torch.zeros(_shape(input_size), device=device)
    census = Census(shadow, refuse)
    for held in ([picture], shadow.parameters(), shadow.buffers()):
        census.memory.ignore(iter(held))
    # In inference mode a composite operator arrives whole, under the name that fvcore would see.
    with torch.inference_mode(), census:
        shadow(picture)
    return census


def _by_fvcore(model: nn.Module, input_size: tuple[int, int], refuse: Refuse) -> Complexity:
    if _has_no_samples(model):
        raise ValueError("fvcore needs a model with real weights, not one on the meta device")
    shadow = copy.deepcopy(model).to("cpu").eval()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of tracing, and of fvcore's age
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(shadow, torch.zeros(_shape(input_size)))
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        analysis.tracer_warnings("none")
        flops, by_module = _integers(analysis.by_operator()), _integers(analysis.by_module())
        unsupported = analysis.unsupported_ops()
    uncounted = Counter({name.removeprefix("aten::"): n for name, n in unsupported.items()})
    for name in (*flops, *uncounted):
        if name in _PRODUCTS:
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
    """Every module but the model itself."""
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
    pass


def _refuse(name: str) -> None:
    if name in _REFUSED:
        raise ValueError(
            f"cannot count {name}: {_REFUSED[name]}; count the paper formulation, "
            "or write it as matrix products"
        )


def _has_no_samples(model: nn.Module) -> bool:
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
