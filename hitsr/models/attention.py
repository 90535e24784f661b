"""Self-attention in windows: SwinIR's, and SRFormer's with permuted, coarser keys.

Both are one mixer. Permuted attention (fold 2) makes keys and values C/4 wide and folds each 2x2
tokens into channels: full queries meet a quarter of the keys. Window attention is fold 1.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hitsr.models.cache import EvalCache
from hitsr.models.large_windows import attend_by_rows
from hitsr.models.ngram import NgramContext
from hitsr.models.position import table_bias
from hitsr.models.strips import Strip, by_strips, in_cache
from hitsr.models.tiles import Grid, attend_in_tiles
from hitsr.models.windows import SEPARATE, cells, merge, regions, roll, split
from hitsr.specs.network import Formulation, is_large


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
        self.reach = 0  # how many pixels beyond its window a token's result depends on
        self.widths = (width, width // fold**2, width // fold**2)  # of q, k, v
        self.qkv = nn.Linear(width, sum(self.widths))
        self.proj = nn.Linear(width, width)
        self.bias_table: nn.Parameter | None = None
        if positions:
            self.bias_table = nn.Parameter(torch.empty((2 * (window // fold) - 1) ** 2, heads))
            nn.init.trunc_normal_(self.bias_table, std=0.02)
        self._cache = EvalCache()

    def forward(self, x_bhwc: Tensor, strip: Strip | None = None) -> Tensor:
        """Mix tokens within windows, after adding what neighbouring windows say.

        With `strip`, of some rows, which are shifted already.
        """
        if strip is not None:
            return self._mix(x_bhwc, strip)
        if self.context is not None:
            x_bhwc = self.context(x_bhwc)
        if self.formulation == "paper":
            return self._paper(x_bhwc)
        if self._large:
            mixed = self._attend_by_rows(self.qkv(roll(x_bhwc, -self.shift)))
            return F.linear(roll(mixed, self.shift), self.proj.weight, self.proj.bias)
        return by_strips(self._mix, x_bhwc, multiple=self.window, shift=self.shift)

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

    def _mix(self, x_bhwc: Tensor, strip: Strip) -> Tensor:
        """The fused formulation, but for the context and the shift of rows."""
        x_bhwc = roll(x_bhwc, -self.shift, (2,))
        if in_cache(x_bhwc):
            mixed = self._attend_in_tiles(x_bhwc, strip.at_bottom)
        elif self.shift:
            mixed = self.proj(self._attend_by_kinds(self.qkv(x_bhwc)))
        else:
            added = None if self.bias_table is None else self._added()[0]
            mixed = self.proj(self._attend(self.qkv(x_bhwc), added))
        return roll(mixed, self.shift, (2,))

    def _attend_in_tiles(self, x_bhwc: Tensor, at_bottom: bool) -> Tensor:
        b, h, w, _ = x_bhwc.shape
        grid = Grid(b, h // self.window, w // self.window, at_bottom)
        x_nc = split(x_bhwc, self.window).flatten(0, 1)
        qkv_cn = torch.addmm(self.qkv.bias[:, None], self.qkv.weight, x_nc.t())
        masks = self._masks() if self.shift else None
        mixed = attend_in_tiles(qkv_cn, self._bias(), masks, grid, self.heads, self.fold)
        projected = torch.addmm(self.proj.bias, mixed.t(), self.proj.weight.t())
        return merge(projected.unflatten(0, (-1, self.window**2)), self.window, h, w)

    def _bias(self) -> Tensor | None:
        """Bias of each key towards each token: (m, s, t)."""
        table = self.bias_table
        if table is None:
            return None

        def transposed() -> Tensor:
            return table_bias(table, self.window, self.fold).transpose(1, 2).contiguous()

        return self._cache.get(self, "bias", transposed)

    def _masks(self) -> Tensor:
        """What separates the parts of windows at the right and at the bottom: (2, s, t)."""
        return self._cache.get(self, "masks", self._compute_masks)

    def _compute_masks(self) -> Tensor:
        # Of two windows a side, the second is at the right and the third at the bottom.
        masks = self._mask(2 * self.window, 2 * self.window, self.qkv.weight.device)
        return masks[1:3].transpose(1, 2).to(self.qkv.weight.dtype).contiguous()

    @property
    def in_strips(self) -> bool:
        """Whether a window's result depends on that window alone, and few windows suffice."""
        return self.context is None and not self._large

    @property
    def _large(self) -> bool:
        return is_large(self.heads, self.window, self.fold)

    def _attend_by_rows(self, qkv_bhwc: Tensor) -> Tensor:
        _, h, w, _ = qkv_bhwc.shape
        grid, qkv = (h // self.window, w // self.window), self._heads(split(qkv_bhwc, self.window))
        mixed = attend_by_rows(qkv, self.bias_table, grid, self.window, self.fold, self.shift)
        return merge(mixed.transpose(1, 2).flatten(2), self.window, h, w)

    def _attend_by_kinds(self, qkv_bhwc: Tensor) -> Tensor:
        """Windows within, at the right, at the bottom and in the corner, each with its own mask."""
        _, h, w, _ = qkv_bhwc.shape
        added = self._added()
        strips = []
        for down, strip in enumerate(qkv_bhwc.split((h - self.window, self.window), 1)):
            parts = strip.split((w - self.window, self.window), 2)
            mixed = [self._attend(x, added[2 * down + i]) for i, x in enumerate(parts) if x.numel()]
            strips += [torch.cat(mixed, 2)] if mixed else []
        return torch.cat(strips, 1)

    def _attend(self, qkv_bhwc: Tensor, added: Tensor | None) -> Tensor:
        """Attention within windows, with the same (m, t, s) added to the scores of each."""
        _, h, w, _ = qkv_bhwc.shape
        q, k, v = self._heads(split(qkv_bhwc, self.window))
        added = None if added is None else added[None]
        mixed = F.scaled_dot_product_attention(q, k, v, added)
        return merge(mixed.transpose(1, 2).flatten(2), self.window, h, w)

    def _added(self) -> Tensor:
        """Bias and mask of each kind of window, with a shift of all four: (kinds, m, t, s)."""
        return self._cache.get(self, "added", self._compute_added)

    def _compute_added(self) -> Tensor:
        table, weight = self.bias_table, self.qkv.weight
        bias = None if table is None else table_bias(table, self.window, self.fold)[None]
        if not self.shift:
            assert bias is not None
            return bias.contiguous()
        # Of two windows a side, one is of each kind.
        masks = self._mask(2 * self.window, 2 * self.window, weight.device)[:, None]
        masks = masks.to(weight.dtype)
        return masks.expand(-1, self.heads, -1, -1) if bias is None else bias + masks

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
