"""One block: a mixer and a feed-forward network, each with its norm, as residual branches."""

import torch
from torch import Tensor, nn

from hitsr.models.attention import Attention
from hitsr.models.correlation import Correlation
from hitsr.models.ffn import FeedForward
from hitsr.models.ngram import NgramContext
from hitsr.models.strips import Strip, by_strips
from hitsr.models.transposed import TransposedAttention
from hitsr.models.windows import extend
from hitsr.specs import network as spec


class Block(nn.Module):
    """(b, h, w, c) -> (b, h, w, c); extends the mixer's input to whole windows where needed."""

    def __init__(
        self, network: spec.NetworkSpec, index: int, drop_rate: float, formulation: spec.Formulation
    ) -> None:
        super().__init__()
        width, ffn = network.width, network.ffn
        self.multiple = network.multiples[index]
        self.norm_after = network.norm == "after"
        self.drop_rate = drop_rate
        self.fused = formulation == "fused"
        self.extends = network.padding == "mixer"  # what the mixer is given
        self.norm1 = nn.LayerNorm(width)
        self.mixer = _mixer(network, index, formulation)
        self.norm2 = nn.LayerNorm(width)
        kernel = ffn.kernel if ffn.kind == "conv" else None
        self.ffn = FeedForward(width, ffn.ratio, kernel, formulation)

    def forward(self, x_bhwc: Tensor) -> Tensor:
        """`x + norm(branch(x))` or `x + branch(norm(x))`, for both branches in turn."""
        if self.training or not self.fused:
            x_bhwc = x_bhwc + self._whole(x_bhwc)
            return x_bhwc + self._fed(x_bhwc, Strip())
        mixer = self.mixer
        if mixer.in_strips and not (mixer.shift and self.extends):
            x_bhwc = by_strips(
                self._mixed,
                x_bhwc,
                multiple=self.multiple,
                halo=mixer.reach,
                shift=mixer.shift,
                residual=True,
            )
        else:
            x_bhwc = x_bhwc + self._whole(x_bhwc)
        return by_strips(self._fed, x_bhwc, halo=self.ffn.reach, residual=True)

    def _mixed(self, x_bhwc: Tensor, strip: Strip) -> Tensor:
        """The first branch of some rows."""
        width = x_bhwc.shape[2]
        branch = x_bhwc if self.norm_after else self.norm1(x_bhwc)
        branch = self.mixer(extend(branch, self.multiple, (2,)), strip)
        branch = strip.own(branch)[:, :, :width]
        return self._drop(self.norm1(branch) if self.norm_after else branch)

    def _whole(self, x_bhwc: Tensor) -> Tensor:
        """The same of whole pictures, for mixers that look further than their windows."""
        _, h, w, _ = x_bhwc.shape
        branch = x_bhwc if self.norm_after else self.norm1(x_bhwc)
        branch = self.mixer(extend(branch, self.multiple))[:, :h, :w]
        return self._drop(self.norm1(branch) if self.norm_after else branch)

    def _fed(self, x_bhwc: Tensor, strip: Strip) -> Tensor:
        """The second branch."""
        branch = x_bhwc if self.norm_after else self.norm2(x_bhwc)
        branch = strip.inner(self.ffn(branch))
        return self._drop(self.norm2(branch) if self.norm_after else branch)

    def _drop(self, branch: Tensor) -> Tensor:
        """Stochastic depth: in training, leave the branch out for some of the batch."""
        if not self.training or self.drop_rate == 0:
            return branch
        keep = 1 - self.drop_rate
        kept = torch.rand(len(branch), 1, 1, 1, device=branch.device) < keep
        return branch * (kept.to(branch.dtype) / keep)


def _mixer(
    network: spec.NetworkSpec, index: int, formulation: spec.Formulation
) -> Attention | Correlation | TransposedAttention:
    """What the spec's tag names; where context enters follows from the mixer."""
    width, mixer, windows = network.width, network.mixer, network.windows
    window = windows.sizes[index]
    context = None
    if network.context:
        shared = mixer.kind == "correlation"
        context = NgramContext(
            width, mixer.heads, window, network.context.grams, shared, formulation
        )
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
