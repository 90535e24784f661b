"""Correlation in windows on a CUDA device, from queries and values: a kernel of ours, or PyTorch's.

Shapes: b batch, h height, w width, c channels of q or of v, m heads, t tokens of a window, s base
cells of a window, o channels of the result.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from hitsr.models.fused.cuda.choice import best
from hitsr.models.fused.cuda.kernels.launch import Product
from hitsr.runtime.trials import Way


def correlated(
    qv_bhwc: Tensor,
    to_base: tuple[Tensor, Tensor],
    bias_mts: Tensor | None,
    proj: tuple[Tensor, Tensor],
    plain: Way,
    *,
    heads: int,
    window: int,
    parameters: Sequence[Tensor],
) -> Tensor:
    """`fused.correlation.correlate` in the windows of pictures: (b, h, w, 2c) -> (b, h, w, o).

    `plain` computes it from qv by PyTorch's operators. `parameters` are what gradients may be
    wanted for.
    """
    ratio = round(to_base[0].numel() ** 0.5)

    def kernel() -> Way | None:
        from hitsr.models.fused.cuda.kernels import correlate as kernels

        outputs = len(proj[0])
        if kernels.why_not(qv_bhwc, heads=heads, window=window, ratio=ratio, outputs=outputs):
            return None
        # Features of a float16 network come in float32, but need no more exactness than its own.
        product: Product | None = None if proj[0].dtype == torch.float32 else "tf32"
        return lambda qv: kernels.correlate(
            qv,
            *to_base,
            bias_mts,
            *proj,
            heads=heads,
            window=window,
            product=product,
            dtype=qv.dtype,
        )

    sizes = {"window": window, "ratio": ratio, "heads": heads, "outputs": len(proj[0])}
    sizes["positions"] = int(bias_mts is not None)
    return best("correlation", kernel, plain, (qv_bhwc,), parameters, sizes)(qv_bhwc)
