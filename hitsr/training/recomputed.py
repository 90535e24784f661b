"""Train with less memory: compute activations again for gradients, instead of keeping them."""

from torch import nn

from hitsr.models.block import Block


def recompute_activations(model: nn.Module) -> None:
    """Have every block of `model` keep only its input in training mode, and compute itself twice.

    The weights stay what they would be, to the bit. (Known as gradient checkpointing.)
    """
    for module in model.modules():
        if isinstance(module, Block):
            module.recomputes = True


def recomputes(model: nn.Module) -> bool:
    """Whether a block of `model` computes its activations again."""
    return any(isinstance(module, Block) and module.recomputes for module in model.modules())
