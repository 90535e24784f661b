"""Spatial-channel correlation (SCC): the mixer of hierarchical windows (HiT-SR, section 3.3).

Spatial self-correlation (S-SC) relates every token of a large window to the cells of a base window.
Channel self-correlation (C-SC) relates channels over all tokens of the window. Neither has a
softmax, so their cost grows linearly with the window's tokens.

Shapes: b batch, h height, w width, c channels, n windows, t tokens of a window, s base cells of a
window, m heads, d channels of a head.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hitsr.models import released
from hitsr.models.fused import correlation as fused
from hitsr.models.fused import features as fused_features
from hitsr.models.fused.cache import EvalCache
from hitsr.models.fused.cpu.products import linear as linear_on_cpu
from hitsr.models.fused.cpu.strips import Strip
from hitsr.models.ngram import NgramContext
from hitsr.models.position import DynamicPosition, TablePosition, averaged_bias
from hitsr.models.precision import linear, widened, without_float16_autocast
from hitsr.models.windows import merge, roll, split
from hitsr.specs import network as spec


class DualFeatures(nn.Module):
    """Dual feature extraction: a convolution branch times a linear branch, same shape (b, h, w, c).

    For an ablation, kind "conv" or "linear" has that branch alone. Features of a float16 input are
    in float32 (`models.precision`).
    """

    def __init__(
        self,
        width: int,
        kind: spec.Features = "dual",
        formulation: spec.Formulation = "fused",
    ) -> None:
        super().__init__()
        self.kind, self.formulation = kind, formulation
        narrow = width // 5
        if kind != "linear":
            self.squeeze = nn.Conv2d(width, narrow, 1)
            self.spatial = nn.Conv2d(narrow, narrow, 3, padding=1)
            self.expand = nn.Conv2d(narrow, width, 1)
        if kind != "conv":
            self.gate = nn.Conv2d(width, width, 1)

    def forward(self, x_bhwc: Tensor) -> Tensor:
        """Features of each pixel from its 3x3 neighbourhood ("linear": from the pixel alone)."""
        match self.formulation:
            case "released":
                return released.features(self, x_bhwc)
            case "paper":
                return self.step_by_step(x_bhwc)
            case "fused":
                return fused_features.features(self, x_bhwc)

    def step_by_step(self, x_bhwc: Tensor) -> Tensor:
        """One layer after the other."""
        if self.kind == "linear":
            return widened(self._pointwise(self.gate, x_bhwc))
        x = F.leaky_relu(self._pointwise(self.squeeze, x_bhwc), 0.2)
        x = F.leaky_relu(self.spatial(x.permute(0, 3, 1, 2)), 0.2).permute(0, 2, 3, 1)
        features = widened(self._pointwise(self.expand, x))
        return features if self.kind == "conv" else features * self._pointwise(self.gate, x_bhwc)

    def _pointwise(self, conv: nn.Conv2d, x_bhwc: Tensor) -> Tensor:
        """A 1x1 convolution, as a linear layer: (b, h, w, c) -> (b, h, w, c')."""
        product = linear_on_cpu if self.formulation == "fused" else F.linear
        return product(x_bhwc, conv.weight.flatten(1), conv.bias)


class Correlation(nn.Module):
    """SCC in windows: (b, h, w, c) -> (b, h, w, c); h and w are multiples of `window`.

    With one of the two branches, its c / 2 channels are projected to c. Without S-SC there is no
    position bias and no projection to the base window.
    A `shift`, in pixels, is cyclic without a mask, which has no meaning without a softmax: windows
    at the picture's edges mix tokens from opposite edges.
    """

    same_head: Tensor

    def __init__(
        self,
        width: int,
        mixer: spec.Correlation,
        window: int,
        base: int,
        shift: int,
        context: NgramContext | None,
        formulation: spec.Formulation,
    ) -> None:
        super().__init__()
        self.heads, self.window, self.shift = mixer.heads, window, shift
        self.softmax = mixer.softmax
        self.channel = "channel" in mixer.branches
        self.ratio = window // min(window, base)  # a window below the base is its own base
        self.formulation = formulation
        self.features = DualFeatures(width, mixer.features, formulation)
        self.context = context
        self.position = _position(mixer, window)
        self.to_base = nn.Linear(self.ratio**2, 1) if "spatial" in mixer.branches else None
        self.proj = nn.Linear(width // 2 * len(mixer.branches), width)
        same_head = fused.same_head(width // 2, mixer.heads)
        self.register_buffer("same_head", same_head, persistent=False)
        self.cache = EvalCache()

    def forward(self, x_bhwc: Tensor, strip: Strip | None = None) -> Tensor:
        """Mix tokens and channels within windows. `strip` is for the fused formulation.

        The result is in the dtype of the features: of a float16 input, float32.
        """
        match self.formulation:
            case "released":
                return released.correlation(self, x_bhwc)
            case "paper":
                pass
            case "fused":
                return fused.correlation(self, x_bhwc, strip)
        qv = self.features(x_bhwc)
        with without_float16_autocast(x_bhwc.device):
            return self._paper(qv)

    def _paper(self, qv: Tensor) -> Tensor:
        """Equations 3 to 6, step by step, of queries and values: (b, h, w, c), same shape."""
        _, h, w, _ = qv.shape
        if self.context is not None:
            qv = self.context(qv)
        q, v = split(roll(qv, -self.shift), self.window).chunk(2, -1)
        branches = []
        if self.to_base is not None:
            branches.append(self._spatial(q, v))
        if self.channel:
            branches.append(self._channel(q, v))
        mixed = linear(self.proj, torch.cat(branches, -1))
        return roll(merge(mixed, self.window, h, w), self.shift)

    def _spatial(self, q_ntc: Tensor, v_ntc: Tensor) -> Tensor:
        """S-SC. Divides by d, not sqrt(d): the released weights were trained that way."""
        q = q_ntc.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        v = self.base_cells(v_ntc).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        correlation = q @ v.transpose(-2, -1) / q.shape[-1]
        if self.position is not None:
            bias = averaged_bias(self.position(self.window), self.ratio)
            correlation = correlation + bias.to(correlation.dtype)
        if self.softmax:
            correlation = correlation.softmax(-1)
        mixed: Tensor = correlation @ v
        return mixed.transpose(1, 2).flatten(2)

    def _channel(self, q_ntc: Tensor, v_ntc: Tensor) -> Tensor:
        """C-SC: one head, and the values of all tokens."""
        correlation = q_ntc.transpose(-2, -1) @ v_ntc / q_ntc.shape[1]
        return (correlation @ v_ntc.transpose(-2, -1)).transpose(-2, -1)

    def base_cells(self, v_ntc: Tensor) -> Tensor:
        """Project values to the base window by a linear layer: (n, t, c) -> (n, s, c).

        Also (n, m, t, c) -> (n, m, s, c).
        """
        assert self.to_base is not None
        side = self.window // self.ratio
        blocks = v_ntc.unflatten(-2, (side, self.ratio, side, self.ratio))
        blocks = blocks.transpose(-4, -3).movedim(-1, -3)  # (..., side, side, c, ratio, ratio)
        return linear(self.to_base, blocks.flatten(-2).flatten(-4, -3)).squeeze(-1)


def _position(mixer: spec.Correlation, window: int) -> DynamicPosition | TablePosition | None:
    match mixer.position:
        case "dynamic":
            return DynamicPosition(mixer.position_width, mixer.heads)
        case "table":
            return TablePosition(window, mixer.heads)
        case "none":
            return None
