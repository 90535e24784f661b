"""Self-attention in windows: SwinIR's, and SRFormer's with permuted, coarser keys.

Both are one mixer. Permuted attention (fold 2) makes keys and values C/4 wide and folds each 2x2
tokens into channels: full queries meet a quarter of the keys. Window attention is fold 1.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hitsr.models.cache import EvalCache
from hitsr.models.ngram import NgramContext
from hitsr.models.position import table_bias
from hitsr.models.windows import cells, merge, regions, split
from hitsr.spec import Formulation

# Added to scores between parts that a shift brought together; exp(-100) is zero beside any score.
SEPARATE = -100.0


class Attention(nn.Module):
    """Multi-head attention in (shifted) windows: (b, h, w, c) -> (b, h, w, c).

    Sides must be multiples of `window`. `shift` is in pixels, 0 for none.
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
    ) -> None:
        super().__init__()
        self.heads, self.window, self.shift, self.fold = heads, window, shift, fold
        self.formulation = formulation
        self.context = context
        self.widths = (width, width // fold**2, width // fold**2)  # of q, k, v
        self.qkv = nn.Linear(width, sum(self.widths))
        self.proj = nn.Linear(width, width)
        self.bias_table = nn.Parameter(torch.empty((2 * (window // fold) - 1) ** 2, heads))
        nn.init.trunc_normal_(self.bias_table, std=0.02)
        self._cache = EvalCache()

    def forward(self, x_bhwc: Tensor) -> Tensor:
        """Mix tokens within windows, after adding what neighbouring windows say."""
        if self.context is not None:
            x_bhwc = x_bhwc + self.context(x_bhwc)
        return self._paper(x_bhwc) if self.formulation == "paper" else self._fused(x_bhwc)

    def _paper(self, x_bhwc: Tensor) -> Tensor:
        _, h, w, _ = x_bhwc.shape
        rolled = x_bhwc.roll((-self.shift, -self.shift), (1, 2)) if self.shift else x_bhwc
        q, k, v = self._heads(self.qkv(split(rolled, self.window)))
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        scores = scores + table_bias(self.bias_table, self.window, self.fold)
        if self.shift:
            mask = self._mask(h, w, x_bhwc.device)  # (windows, t, s)
            scores = (scores.unflatten(0, (-1, mask.shape[0])) + mask[:, None]).flatten(0, 1)
        mixed = scores.softmax(-1) @ v
        merged = merge(self.proj(mixed.transpose(1, 2).flatten(2)), self.window, h, w)
        return merged.roll((self.shift, self.shift), (1, 2)) if self.shift else merged

    def _fused(self, x_bhwc: Tensor) -> Tensor:
        _, h, w, _ = x_bhwc.shape
        qkv = self.qkv(x_bhwc)
        if self.shift:
            qkv = qkv.roll((-self.shift, -self.shift), (1, 2))
        q, k, v = self._heads(split(qkv, self.window))
        bias = self._cache.get(
            self, "bias", lambda: table_bias(self.bias_table, self.window, self.fold).contiguous()
        )
        mixed = F.scaled_dot_product_attention(q, k, v, bias[None])
        if self.shift:
            mixed = self._separate_edges(mixed, q, k, v, bias, h, w)
        merged = merge(mixed.transpose(1, 2).flatten(2), self.window, h, w)
        if self.shift:
            merged = merged.roll((self.shift, self.shift), (1, 2))
        return F.linear(merged, self.proj.weight, self.proj.bias)

    def _separate_edges(
        self, mixed: Tensor, q: Tensor, k: Tensor, v: Tensor, bias: Tensor, h: int, w: int
    ) -> Tensor:
        """Redo the last row and column of windows, the only ones that a shift mixes."""
        rows, columns = h // self.window, w // self.window
        windows = torch.arange(rows * columns, device=mixed.device).view(rows, columns)
        edge = torch.cat([windows[:-1, -1], windows[-1]])
        masked = self._cache.get(
            self,
            "edges",
            lambda: bias[None] + self._mask(h, w, bias.device)[edge].to(bias.dtype)[:, None],
            (h, w),
        )
        batches = q.shape[0] // (rows * columns)
        index = (
            torch.arange(batches, device=edge.device)[:, None] * rows * columns + edge
        ).flatten()
        again = F.scaled_dot_product_attention(
            q[index], k[index], v[index], masked.repeat(batches, 1, 1, 1)
        )
        return mixed.index_copy(0, index, again)

    def _heads(self, qkv_ntc: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Part into heads, folding keys and values: (n, t, .) -> (n, m, t, d), 2 x (n, m, s, d)."""
        q, k, v = qkv_ntc.split(self.widths, -1)
        return self._part(q), self._part(self._folded(k)), self._part(self._folded(v))

    def _part(self, x_ntc: Tensor) -> Tensor:
        heads: Tensor = x_ntc.unflatten(-1, (self.heads, -1))
        return heads.transpose(1, 2)

    def _folded(self, x_ntc: Tensor) -> Tensor:
        """Fold tokens into channels: (n, t, c / fold²) -> (n, t / fold², c)."""
        if self.fold == 1:
            return x_ntc
        n, _, c = x_ntc.shape
        side, f = self.window // self.fold, self.fold
        x = x_ntc.view(n, side, f, side, f, c).transpose(2, 3)
        return x.reshape(n, side * side, f * f * c)

    def _mask(self, h: int, w: int, device: torch.device) -> Tensor:
        """Score offsets between tokens and key cells of each shifted window: (windows, t, s)."""
        parts = split(regions(h, w, self.window, self.shift, device), self.window)[..., 0]
        row, column = cells(self.window // self.fold, device).unbind(1)
        keys = parts[:, (row * self.window + column) * self.fold]
        return (parts[:, :, None] != keys[:, None, :]).float() * SEPARATE
