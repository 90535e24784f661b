"""Train with kernels of torch.compile."""

import torch
from torch import Tensor, nn

from hitsr.runtime.compiling import check_compiler


def compile_training(model: nn.Module) -> None:
    """Let torch.compile run a network in training mode alone, in place.

    Patches have one size; the pictures of a validation have many, and each would be compiled for.
    Raises SpecError where there is no compiler.
    """
    check_compiler()
    plain = model.forward
    compiled = torch.compile(plain, dynamic=False)

    def forward(lr: Tensor) -> Tensor:
        out: Tensor = compiled(lr) if model.training else plain(lr)
        return out

    model.forward = forward
