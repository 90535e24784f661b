"""Count a network's parameters and FLOPs: what fvcore counts, in seconds instead of minutes.

The field's FLOPs are fvcore's: one per multiply-accumulate, and five per LayerNorm element. fvcore
traces a forward of real tensors. The `torch` counter asks torch's own formulas on the meta device,
where shapes are computed and samples are not; tests hold the two to the same integer.
"""

import copy
import math
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from hitsr.values import Value

Method = Literal["torch", "fvcore"]

_ATTENTION = "scaled_dot_product_attention"
# Multiply-accumulates that fvcore does not see, or sees otherwise than torch: with one of them, the
# two counts would part without a word.
_REFUSED = {
    _ATTENTION: "fvcore sees nothing of it",
    "einsum": "fvcore rounds it to four digits",
    **dict.fromkeys(("mv", "dot", "addmv", "addbmm", "baddbmm"), "fvcore sees nothing of it"),
    **dict.fromkeys(
        ("adaptive_avg_pool2d", "batch_norm", "group_norm", "instance_norm", "grid_sampler",
         "upsample_nearest2d", "upsample_bilinear2d"),
        "fvcore counts it, torch does not",
    ),
}  # fmt: skip
_COPIES = ("_to_copy", "_unsafe_view", "clone", "copy_", "detach_", "lift_fresh")


class Complexity(Value):
    """What one forward of one picture costs."""

    params: int
    flops: int
    flops_by_operator: dict[str, int]  # sums to flops
    uncounted: dict[str, int]  # operator -> number of calls that add nothing to the count
    counter: Method


def input_size_for(output_size: tuple[int, int], scale: int) -> tuple[int, int]:
    """The (width, height) of the LR picture for an output size: 427x240 for 1280x720 at x3."""
    width, height = (round(side / scale) for side in output_size)
    return width, height


def count(model: nn.Module, input_size: tuple[int, int], counter: Method = "torch") -> Complexity:
    """Parameters, and FLOPs in eval mode for one picture of (width, height) `input_size`.

    `torch` needs no memory to speak of and takes weights on any device; `fvcore` runs a copy of the
    model on the CPU. The model itself is left as it is. Of a matrix product whose first factor is
    broadcast, fvcore counts one of the batch; torch counts all.

    Raises ValueError for an operator that the counters see differently, such as
    scaled_dot_product_attention: count the paper formulation, which has none.
    """
    flops, uncounted = _COUNTERS[counter](model, input_size)
    return Complexity(
        params=sum(parameter.numel() for parameter in model.parameters()),
        flops=sum(flops.values()),
        flops_by_operator=dict(sorted(flops.items())),
        uncounted=dict(sorted(uncounted.items())),
        counter=counter,
    )


def _count_by_torch(
    model: nn.Module, input_size: tuple[int, int]
) -> tuple[Counter[str], Counter[str]]:
    shadow = copy.deepcopy(model).to("meta").eval()
    picture = torch.empty(_shape(input_size), device="meta")
    # In inference mode a composite operator arrives whole, under the name that fvcore would see.
    with torch.inference_mode(), _Census() as census:
        shadow(picture)
    return census.flops, census.uncounted


def _count_by_fvcore(
    model: nn.Module, input_size: tuple[int, int]
) -> tuple[Counter[str], Counter[str]]:
    if any(parameter.is_meta for parameter in model.parameters()):
        raise ValueError("fvcore needs a model with real weights, not one on the meta device")
    shadow = copy.deepcopy(model).to("cpu").eval()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of tracing, and of fvcore's age
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(shadow, torch.zeros(_shape(input_size)))
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        analysis.tracer_warnings("none")
        counted = Counter({name: int(flops) for name, flops in analysis.by_operator().items()})
        unsupported = analysis.unsupported_ops()
    uncounted = Counter({name.removeprefix("aten::"): n for name, n in unsupported.items()})
    for name in (*counted, *uncounted):
        _refuse(name)
    return counted, uncounted


_COUNTERS: dict[
    Method,
    Callable[[nn.Module, tuple[int, int]], tuple[Counter[str], Counter[str]]],
] = {"torch": _count_by_torch, "fvcore": _count_by_fvcore}


class _Census(TorchDispatchMode):
    """Counts every operator that runs inside it, or names it among those that add nothing."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops: Counter[str] = Counter()
        self.uncounted: Counter[str] = Counter()

    def __torch_dispatch__(
        self,
        operator: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        packet, name = operator._overloadpacket, operator._opname
        _refuse(name)
        if packet not in flop_registry:
            with self:
                parts = operator.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        result = operator(*args, **kwargs)
        if packet in flop_registry:
            twice = flop_registry[packet](*args, **kwargs, out_val=result)
            self.flops[name] += twice // 2
        elif name == "native_layer_norm":
            self.flops["layer_norm"] += _layer_norm_flops(args[0], weight=args[2])
        elif not _only_arranges(operator, name, args):
            self.uncounted[name] += 1
        return result


def _layer_norm_flops(x: torch.Tensor, weight: torch.Tensor | None) -> int:
    """As fvcore estimates: five per element, four without weights of its own."""
    return math.prod(x.shape) * (4 if weight is None else 5)


def _only_arranges(operator: Any, name: str, args: tuple[Any, ...]) -> bool:
    """Whether an operator computes no sample: a view, a copy, or a new tensor made of none."""
    makes = not any(isinstance(argument, torch.Tensor) for argument in _flat(args))
    return makes or name in _COPIES or cast(bool, operator.is_view)


def _flat(args: tuple[Any, ...]) -> list[Any]:
    return [x for part in args for x in (part if isinstance(part, (list, tuple)) else [part])]


def _refuse(name: str) -> None:
    if name in _REFUSED:
        raise ValueError(
            f"cannot count {name}: {_REFUSED[name]}; count the paper formulation, "
            "or write it as matrix products"
        )


def _shape(input_size: tuple[int, int]) -> tuple[int, int, int, int]:
    width, height = input_size
    return 1, 3, height, width
