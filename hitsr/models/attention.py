"""Self-attention in windows: SwinIR's, and SRFormer's with permuted, coarser keys.

Both are one mixer. Permuted attention (fold 2) makes keys and values C/4 wide and folds each 2x2
tokens into channels: full queries meet a quarter of the keys. Window attention is fold 1.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hitsr.models.cache import EvalCache
from hitsr.models.large_windows import MOST_KEPT, attend_by_rows
from hitsr.models.ngram import NgramContext
from hitsr.models.position import table_bias
from hitsr.models.windows import SEPARATE, cells, merge, regions, roll, split
from hitsr.spec import Formulation


class Attention(nn.Module):
    """Multi-head attention in (shifted) windows: (b, h, w, c) -> (b, h, w, c).

    Sides must be multiples of `window`. `shift` is in pixels, 0 for none. `positions`: whether
    scores have a bias for the offset between tokens.
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
        self._cache = EvalCache()

    def forward(self, x_bhwc: Tensor) -> Tensor:
        """Mix tokens within windows, after adding what neighbouring windows say."""
        if self.context is not None:
            x_bhwc = x_bhwc + self.context(x_bhwc)
        return self._paper(x_bhwc) if self.formulation == "paper" else self._fused(x_bhwc)

    def _paper(self, x_bhwc: Tensor) -> Tensor:
        _, h, w, _ = x_bhwc.shape
        q, k, v = self._heads(self.qkv(split(roll(x_bhwc, -self.shift), self.window)))
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        if self.bias_table is not None:
            scores = scores + table_bias(self.bias_table, self.window, self.fold)
        if self.shift:
            mask = self._mask(h, w, x_bhwc.device)  # (windows, t, s)
            scores = (scores.unflatten(0, (-1, mask.shape[0])) + mask[:, None]).flatten(0, 1)
        mixed = scores.softmax(-1) @ v
        merged = merge(self.proj(mixed.transpose(1, 2).flatten(2)), self.window, h, w)
        return roll(merged, self.shift)

    def _fused(self, x_bhwc: Tensor) -> Tensor:
        _, h, w, _ = x_bhwc.shape
        q, k, v = self._heads(split(roll(self.qkv(x_bhwc), -self.shift), self.window))
        attend = self._attend_by_rows if self._large else self._attend
        mixed = attend(q, k, v, h, w)
        merged = roll(merge(mixed.transpose(1, 2).flatten(2), self.window, h, w), self.shift)
        return F.linear(merged, self.proj.weight, self.proj.bias)

    @property
    def _large(self) -> bool:
        """Whether what is added to the scores is too much to lay out."""
        scores = self.heads * self.window**4 // self.fold**2
        added = self.bias_table is not None or self.shift > 0
        return added and scores > MOST_KEPT

    def _attend_by_rows(self, q: Tensor, k: Tensor, v: Tensor, h: int, w: int) -> Tensor:
        grid = (h // self.window, w // self.window)
        return attend_by_rows((q, k, v), self.bias_table, grid, self.window, self.fold, self.shift)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, h: int, w: int) -> Tensor:
        bias = self._bias()
        mixed = F.scaled_dot_product_attention(q, k, v, None if bias is None else bias[None])
        return self._separate_edges(mixed, q, k, v, bias, h, w) if self.shift else mixed

    def _bias(self) -> Tensor | None:
        table = self.bias_table
        if table is None:
            return None
        return self._cache.get(
            self, "bias", lambda: table_bias(table, self.window, self.fold).contiguous()
        )

    def _separate_edges(
        self, mixed: Tensor, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, h: int, w: int
    ) -> Tensor:
        """Redo the last row and column of windows, the only ones that a shift mixes."""
        rows, columns = h // self.window, w // self.window
        windows = torch.arange(rows * columns, device=mixed.device).view(rows, columns)
        edge = torch.cat([windows[:-1, -1], windows[-1]])
        masked = self._cache.get(
            self,
            "edges",
            lambda: self._edge_masks(bias, self._mask(h, w, q.device)[edge].to(q.dtype)),
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

    def _edge_masks(self, bias: Tensor | None, masks: Tensor) -> Tensor:
        """Added to the scores of each window at an edge, for each head: (windows, m, t, s)."""
        if bias is None:
            return masks[:, None].expand(-1, self.heads, -1, -1)
        return bias[None] + masks[:, None]

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
