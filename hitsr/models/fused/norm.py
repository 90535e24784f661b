"""Layer norm of features, fused: on a CUDA device, by whichever way is fastest there."""

from collections.abc import Callable

from torch import Tensor, nn

from hitsr.models import precision
from hitsr.models.fused.backend import backend_of
from hitsr.models.fused.cuda import norm as cuda
from hitsr.specs.network import Formulation


def layer_norm_of(formulation: Formulation) -> Callable[[nn.LayerNorm, Tensor], Tensor]:
    """The function that applies a norm to features (..., c), in a formulation."""
    return _layer_norm if formulation == "fused" else precision.layer_norm


def _layer_norm(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    way = cuda.layer_norm if backend_of(x) == "cuda" else precision.layer_norm
    return way(norm, x)
