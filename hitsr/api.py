"""Public functions that need both a network and a measurement, which know nothing of each other."""

import torch

from hitsr.measure.complexity import Complexity, Method, count, input_size_for
from hitsr.models.backbone import create
from hitsr.spec import Formulation, NetworkSpec


def complexity(
    network: str | NetworkSpec,
    scale: int,
    output_size: tuple[int, int] = (1280, 720),
    *,
    counter: Method = "torch",
    formulation: Formulation = "paper",
) -> Complexity:
    """Parameters and FLOPs of a network at an output size of (width, height).

    FLOPs are what fvcore counts (multiply-accumulates, plus five per LayerNorm element), on the
    paper formulation. `counter` "torch" takes seconds, "fvcore" itself minutes; both give the same
    integer. Raises SpecError for an unknown network or scale.
    """
    with torch.device("meta" if counter == "torch" else "cpu"):
        model = create(network, scale, formulation=formulation)
    return count(model, input_size_for(output_size, scale), counter)
