"""One block: a mixer and a feed-forward network, each with its norm, as residual branches.

Shapes: b batch, h height, w width, c channels.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

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
        self.norm1 = nn.LayerNorm(width)
        self.mixer = _mixer(network, index, formulation)
        self.norm2 = nn.LayerNorm(width)
        kernel = ffn.kernel if ffn.kind == "conv" else None
        self.ffn = FeedForward(width, ffn.ratio, kernel, formulation)

    def forward(self, x_bhwc: Tensor) -> Tensor:
        """Mix tokens within windows, then feed every token forward."""
        if self.formulation == "fused":
            if backend_of(x_bhwc) == "cuda":
                return cuda.forward(self, x_bhwc)
            if not self.training:
                return fused.forward_by_strips(self, x_bhwc)
        return self.step_by_step(x_bhwc)

    def step_by_step(self, x_bhwc: Tensor) -> Tensor:
        """One branch after the other, on the whole picture."""
        x_bhwc = x_bhwc + self.dropped(self.normed(self.mix, self.norm1, x_bhwc))
        return x_bhwc + self.dropped(self.normed(self.ffn, self.norm2, x_bhwc))

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

    @property
    def drops(self) -> bool:
        """Whether branches are left out for some pictures of a batch now."""
        return self.training and self.drop_rate > 0

    def dropped(self, branch: Tensor) -> Tensor:
        """Stochastic depth: in training, leave the branch out for some pictures of the batch."""
        if not self.drops:
            return branch
        keep = 1 - self.drop_rate
        kept = torch.rand(len(branch), 1, 1, 1, device=branch.device) < keep
        return branch * (kept.to(branch.dtype) / keep)


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
