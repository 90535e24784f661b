"""Multi-head self-attention in windows (SwinIR), and its permuted variant (SRFormer).

Both are one mixer. Permuted attention, fold 2, makes keys and values c / 4 wide and folds the 2x2
tokens of a cell into channels, so that full queries meet a quarter of the keys. Window attention is
fold 1, where a cell is one token.

Shapes: b batch, h height, w width, c channels, n windows, t tokens of a window, s keys of a window
(t / fold²), m heads, d channels of a head.
"""

import torch
from torch import Tensor, nn

from hitsr.models import released
from hitsr.models.fused import attention as fused
from hitsr.models.fused.cache import EvalCache
from hitsr.models.fused.cpu.strips import Strip
from hitsr.models.ngram import NgramContext
from hitsr.models.position import table_bias
from hitsr.models.windows import in_heads, merge, roll, shift_mask, split
from hitsr.specs.network import Formulation


class Attention(nn.Module):
    """Attention in (shifted) windows: (b, h, w, c) -> (b, h, w, c); h, w multiples of `window`.

    `shift` is in pixels, 0 for none. `positions`: whether scores have a bias for the offset between
    query and key.
    """

    bias_index: Tensor  # both of the released formulation alone
    patch_mask: Tensor | None

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
        if formulation == "released":
            released.prepare_attention(self)

    def forward(self, x_bhwc: Tensor, strip: Strip | None = None) -> Tensor:
        """Mix tokens within windows. `strip` is for the fused formulation (`fused.attention`)."""
        if self.context is not None:
            x_bhwc = self.context(x_bhwc)
        match self.formulation:
            case "released":
                return released.attention(self, x_bhwc)
            case "paper":
                return self._paper(x_bhwc)
            case "fused":
                return fused.attention(self, x_bhwc, strip)

    def _paper(self, x_bhwc: Tensor) -> Tensor:
        _, h, w, _ = x_bhwc.shape
        qkv = self.split_heads(self.qkv(split(roll(x_bhwc, -self.shift), self.window)))
        table, bias = self.bias_table, None
        if table is not None:
            bias = table_bias(table, self.window, self.fold)
        mask = self.mask(h, w, x_bhwc.device) if self.shift else None
        return self.attend(*qkv, bias, mask, h, w)

    def attend(
        self,
        q_nmtd: Tensor,
        k_nmsd: Tensor,
        v_nmsd: Tensor,
        bias_mts: Tensor | None,
        mask_nts: Tensor | None,
        h: int,
        w: int,
    ) -> Tensor:
        """Attention of windows, with what is added to their scores; `mask` is of one picture."""
        scores = (q_nmtd * q_nmtd.shape[-1] ** -0.5) @ k_nmsd.transpose(-2, -1)
        if bias_mts is not None:
            scores = scores + bias_mts
        if mask_nts is not None:
            windows = mask_nts.shape[0]  # not its len(), which an exported program would fix
            mask = mask_nts[:, None].to(scores.dtype)
            scores = (scores.unflatten(0, (-1, windows)) + mask).flatten(0, 1)
        mixed = scores.softmax(-1) @ v_nmsd
        merged = merge(self.proj(mixed.transpose(1, 2).flatten(2)), self.window, h, w)
        return roll(merged, self.shift)

    def split_heads(self, qkv_ntc: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (n, m, t, d), keys and values (n, m, s, d) of windows' qkv features."""
        return self.in_heads(*qkv_ntc.split(self.widths, -1))

    def in_heads(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`windows.in_heads`: (n, t, c) of queries, (n, t, c / fold²) of keys and values."""
        return in_heads(q, k, v, self.heads, self.window, self.fold)

    def mask(self, h: int, w: int, device: torch.device) -> Tensor:
        """`windows.shift_mask` of a picture: (n, t, s)."""
        return shift_mask(h, w, self.window, self.shift, self.fold, device)

    def masks_of_kinds(self) -> Tensor:
        """Masks of windows inside, at the right edge, at the bottom, in the corner: (4, t, s)."""
        weight = self.qkv.weight
        # A picture of two by two windows has one of each kind.
        return self.mask(2 * self.window, 2 * self.window, weight.device).to(weight.dtype)
