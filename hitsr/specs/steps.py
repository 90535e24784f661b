"""How a forward is computed: in which formulation and precision, and how it is launched."""

from typing import Literal, NamedTuple

from hitsr.specs.network import Formulation

# float16 and bfloat16: weights and pictures too. tf32: float32, whose products an NVIDIA GPU
# computes with 10 bits of mantissa. autocast: products in bfloat16, weights in float32.
Precision = Literal["float32", "tf32", "float16", "bfloat16", "autocast"]
# compiled: by torch.compile. graph: the whole forward is one CUDA graph, launched at once.
Launch = Literal["eager", "compiled", "graph"]


class Step(NamedTuple):
    """One of the steps from the released code to the fastest forward."""

    formulation: Formulation
    precision: Precision = "float32"
    launch: Launch = "eager"


_ON_ALL = (Step("released"), Step("paper"), Step("fused"))
# By kind of device, in order; docs/protocol.md says what each step changes.
STEPS: dict[str, tuple[Step, ...]] = {
    "cpu": _ON_ALL,
    "mps": _ON_ALL,
    "cuda": (
        *_ON_ALL,
        Step("fused", "tf32"),
        Step("fused", "float16"),
        Step("fused", "float16", "graph"),
    ),
}


def is_possible(formulation: Formulation, precision: Precision, launch: Launch) -> bool:
    """Whether a formulation runs like this: the released one fails on 16-bit weights and in graphs.

    The published code adds masks and offsets of float32, and no graph holds what the CPU makes.
    """
    halves = ("float16", "bfloat16")
    return formulation != "released" or (precision not in halves and launch != "graph")
