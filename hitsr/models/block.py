"""One block: a mixer and a feed-forward network, each with its norm, as residual branches.

Shapes: b batch, h height, w width, c channels.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hitsr.models import released
from hitsr.models.attention import Attention
from hitsr.models.correlation import Correlation
from hitsr.models.ffn import FeedForward
from hitsr.models.fused import block as fused
from hitsr.models.fused.backend import backend_of
from hitsr.models.fused.cuda import block as cuda
from hitsr.models.fused.norm import layer_norm_of
from hitsr.models.ngram import NgramContext
from hitsr.models.transposed import TransposedAttention
from hitsr.models.windows import extend
from hitsr.specs import network as spec


class Block(nn.Module):
    """x + norm(branch(x)) or x + branch(norm(x)), for two branches: (b, h, w, c), same shape."""

    def __init__(
        self, network: spec.NetworkSpec, index: int, drop_rate: float, formulation: spec.Formulation
    ) -> None:
        super().__init__()
        width, ffn = network.width, network.ffn
        self.multiple = network.multiples[index]
        self.pads_mixer = network.padding == "mixer"  # else the picture is whole windows already
        self.norm_after = network.norm == "after"
        self.drop_rate = drop_rate
        self.formulation = formulation
        # Whether training keeps no activations of the block, and computes them again for gradients.
        self.recomputes = False
        self.norm1 = nn.LayerNorm(width)
        self.mixer = _mixer(network, index, formulation)
        self.norm2 = nn.LayerNorm(width)
        kernel = ffn.kernel if ffn.kind == "conv" else None
        self.ffn = FeedForward(width, ffn.ratio, kernel, formulation)

    def forward(self, x_bhwc: Tensor) -> Tensor:
        """Mix tokens within windows, then feed every token forward."""
        factors = self.factors(x_bhwc)
        if self.training and self.recomputes:
            # All random numbers are drawn by now, so no random state needs to be kept, which no
            # CUDA graph could hold.
            found: Tensor = checkpoint(
                self._computed, x_bhwc, factors, use_reentrant=False, preserve_rng_state=False
            )
            return found
        return self._computed(x_bhwc, factors)

    def _computed(self, x_bhwc: Tensor, factors: Tensor | None) -> Tensor:
        if self.formulation == "fused":
            if backend_of(x_bhwc) == "cuda":
                return cuda.forward(self, x_bhwc, factors)
            if not self.training:
                return fused.forward_by_strips(self, x_bhwc)
        return self.step_by_step(x_bhwc, factors)

    def step_by_step(self, x_bhwc: Tensor, factors: Tensor | None) -> Tensor:
        """One branch after the other, on the whole picture, each times its `factors`."""
        first, second = (None, None) if factors is None else factors
        x_bhwc = self.added(x_bhwc, self.normed(self.mix, self.norm1, x_bhwc), first)
        return self.added(x_bhwc, self.normed(self.ffn, self.norm2, x_bhwc), second)

    @staticmethod
    def added(x_bhwc: Tensor, branch: Tensor, factor: Tensor | None) -> Tensor:
        """x plus a branch, which is multiplied by `factor` (b, 1, 1, 1) if there is one."""
        return x_bhwc + (branch if factor is None else branch * factor)

    def normed(
        self, branch: Callable[[Tensor], Tensor], norm: nn.LayerNorm, x_bhwc: Tensor
    ) -> Tensor:
        """norm(branch(x)) or branch(norm(x)), as the network has it, in the dtype of x."""
        normed = partial(layer_norm_of(self.formulation), norm)
        out = normed(branch(x_bhwc)) if self.norm_after else branch(normed(x_bhwc))
        return out.to(x_bhwc.dtype)

    def mix(self, x_bhwc: Tensor) -> Tensor:
        """The mixer, on features extended to whole windows (to pairs of them for n-grams)."""
        _, h, w, _ = x_bhwc.shape
        if self.formulation == "released" and self.pads_mixer:
            x_bhwc = released.padded(x_bhwc, self.multiple)
        else:
            x_bhwc = extend(x_bhwc, self.multiple)
        mixed: Tensor = self.mixer(x_bhwc)
        return mixed[:, :h, :w]

    def factors(self, x_bhwc: Tensor) -> Tensor | None:
        """Stochastic depth: in training, branches are left out for some pictures of a batch.

        Returns what each branch is multiplied by for each picture, 0 or more than 1:
        (2, b, 1, 1, 1); None if no branch is left out.
        """
        if not (self.training and self.drop_rate > 0):
            return None
        keep = 1 - self.drop_rate
        kept = torch.rand(2, len(x_bhwc), 1, 1, 1, device=x_bhwc.device) < keep
        return kept.to(x_bhwc.dtype) / keep


def _mixer(
    network: spec.NetworkSpec, index: int, formulation: spec.Formulation
) -> Attention | Correlation | TransposedAttention:
    """The mixer that the spec's tag names, for one block of a group."""
    width, mixer, windows = network.width, network.mixer, network.windows
    window = windows.sizes[index]
    context = None
    if network.context:
        shared = mixer.kind == "correlation"
        grams = network.context.grams
        context = NgramContext(width, mixer.heads, window, grams, shared, formulation)
    shift = window // 2 if windows.shift and index % 2 else 0
    match mixer:
        case spec.WindowAttention() | spec.PermutedAttention():
            fold = 2 if mixer.kind == "permuted_attention" else 1
            positions = mixer.position == "table"
            return Attention(
                width, mixer.heads, window, shift, fold, context, formulation, positions
            )
        case spec.TransposedAttention():
            return TransposedAttention(width, mixer.heads, window, shift, context, formulation)
        case spec.Correlation():
            return Correlation(width, mixer, window, windows.base, shift, context, formulation)
