"""Multi-head self-attention in windows (SwinIR), and its permuted variant (SRFormer).

Both are one mixer. Permuted attention, fold 2, makes keys and values c / 4 wide and folds the 2x2
tokens of a cell into channels, so that full queries meet a quarter of the keys. Window attention is
fold 1, where a cell is one token.

Shapes: b batch, h height, w width, c channels, n windows, t tokens of a window, s keys of a window
(t / fold²), m heads, d channels of a head.
"""

import torch
from torch import Tensor, nn

from hitsr.models.fused import attention as fused
from hitsr.models.fused.cache import EvalCache
from hitsr.models.fused.cpu.strips import Strip
from hitsr.models.ngram import NgramContext
from hitsr.models.position import table_bias
from hitsr.models.windows import SEPARATE, cells, merge, regions, roll, split
from hitsr.specs.network import Formulation


class Attention(nn.Module):
    """Attention in (shifted) windows: (b, h, w, c) -> (b, h, w, c); h, w multiples of `window`.

    `shift` is in pixels, 0 for none. `positions`: whether scores have a bias for the offset between
    query and key.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        window: int,
        shift: int,
        fold: int,
        context: NgramContext | None,
        formulation: Formulation,
        positions: bool = True,
    ) -> None:
        super().__init__()
        self.heads, self.window, self.shift, self.fold = heads, window, shift, fold
        self.formulation = formulation
        self.context = context
        self.widths = (width, width // fold**2, width // fold**2)  # of q, k, v
        self.qkv = nn.Linear(width, sum(self.widths))
        self.proj = nn.Linear(width, width)
        self.bias_table: nn.Parameter | None = None
        if positions:
            self.bias_table = nn.Parameter(torch.empty((2 * (window // fold) - 1) ** 2, heads))
            nn.init.trunc_normal_(self.bias_table, std=0.02)
        self.cache = EvalCache()

    def forward(self, x_bhwc: Tensor, strip: Strip | None = None) -> Tensor:
        """Mix tokens within windows. `strip` is for the fused formulation (`fused.attention`)."""
        if self.context is not None:
            x_bhwc = self.context(x_bhwc)
        if self.formulation == "fused":
            return fused.attention(self, x_bhwc, strip)
        return self._paper(x_bhwc)

    def _paper(self, x_bhwc: Tensor) -> Tensor:
        _, h, w, _ = x_bhwc.shape
        q, k, v = self.split_heads(self.qkv(split(roll(x_bhwc, -self.shift), self.window)))
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        if self.bias_table is not None:
            scores = scores + table_bias(self.bias_table, self.window, self.fold)
        if self.shift:
            mask = self.mask(h, w, x_bhwc.device)  # (windows of a picture, t, s)
            scores = (scores.unflatten(0, (-1, mask.shape[0])) + mask[:, None]).flatten(0, 1)
        mixed = scores.softmax(-1) @ v
        merged = merge(self.proj(mixed.transpose(1, 2).flatten(2)), self.window, h, w)
        return roll(merged, self.shift)

    def split_heads(self, qkv_ntc: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (n, m, t, d), keys and values (n, m, s, d) of windows' qkv features."""
        q, k, v = qkv_ntc.split(self.widths, -1)
        heads = (x.unflatten(-1, (self.heads, -1)) for x in (q, self._fold(k), self._fold(v)))
        q, k, v = (x.transpose(1, 2) for x in heads)
        return q, k, v

    def _fold(self, x_ntc: Tensor) -> Tensor:
        """Fold the tokens of a cell into channels: (n, t, c / fold²) -> (n, s, c)."""
        if self.fold == 1:
            return x_ntc
        n, _, c = x_ntc.shape
        side, f = self.window // self.fold, self.fold
        x = x_ntc.view(n, side, f, side, f, c).transpose(2, 3)
        return x.reshape(n, side * side, f * f * c)

    def mask(self, h: int, w: int, device: torch.device) -> Tensor:
        """SEPARATE where a shift brought query and key together, else 0: (n, t, s) of a picture."""
        parts = split(regions(h, w, self.window, self.shift, device), self.window)[..., 0]
        row, column = cells(self.window // self.fold, device).unbind(1)
        keys = parts[:, (row * self.window + column) * self.fold]
        return (parts[:, :, None] != keys[:, None, :]).float() * SEPARATE
