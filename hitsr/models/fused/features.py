"""Dual features of the correlation, fused: on a CPU, products by the faster library; on a CUDA
device by kernels.

Shapes: b batch, h height, w width, c channels.
"""

from typing import TYPE_CHECKING

from torch import Tensor

from hitsr.models.fused.backend import backend_of
from hitsr.models.fused.cuda.choice import best, has_hooks
from hitsr.models.precision import autocast_dtype
from hitsr.runtime.trials import Way

if TYPE_CHECKING:
    from hitsr.models.correlation import DualFeatures


def features(module: "DualFeatures", x_bhwc: Tensor) -> Tensor:
    """`DualFeatures.forward`: (b, h, w, c), the same shape."""
    if backend_of(x_bhwc) != "cuda" or has_hooks(module):
        return module.step_by_step(x_bhwc)

    def kernel() -> Way | None:
        from hitsr.models.fused.cuda.kernels import features as kernels

        if kernels.why_not(module, x_bhwc):
            return None
        dtype = autocast_dtype(x_bhwc.device.type) or x_bhwc.dtype
        return lambda x: kernels.dual_features(x, module, dtype)

    way = best("dual features", kernel, module.step_by_step, (x_bhwc,), [*module.parameters()])
    return way(x_bhwc)
