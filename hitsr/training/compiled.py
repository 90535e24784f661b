"""Train with kernels made by torch.compile."""

import torch
from torch import Tensor, nn

from hitsr.runtime.compiling import check_compiler


def compile_training(model: nn.Module) -> None:
    """Compile the forward of `model`, in place, for training mode only.

    In eval mode the plain forward runs: validation pictures have many sizes, and each size would be
    compiled anew, while training patches have one. Raises SpecError if there is no C++ compiler.
    """
    check_compiler()
    plain = model.forward
    compiled = torch.compile(plain, dynamic=False)

    def forward(lr: Tensor) -> Tensor:
        out: Tensor = compiled(lr) if model.training else plain(lr)
        return out

    model.forward = forward
