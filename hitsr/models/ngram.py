"""N-gram context: what neighbouring windows say to each window (NGswin, CVPR 2023)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hitsr.models.position import table_bias
from hitsr.specs.network import Formulation


class NgramContext(nn.Module):
    """Adds one context vector per window to its tokens: (b, h, w, c) -> (b, h, w, c).

    Windows are embedded channel pair by channel pair into C/2 channels. Each embedding attends to
    its neighbours to the right and below, and in a second pass to the left and above; at the ends
    the neighbour is reflected. Both averages are concatenated and merged.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        window: int,
        grams: int,
        shared: bool,
        formulation: Formulation = "fused",
    ) -> None:
        super().__init__()
        self.window, self.grams, self.heads = window, grams, heads
        self.formulation = formulation
        half = width // 2
        filters = 1 if shared else half  # one for all channel pairs, or one for each
        self.embed = nn.Conv2d(2 * filters, filters, window, stride=window, groups=filters)
        self.qkv = nn.Linear(half, 3 * half)
        self.proj = nn.Linear(half, half)
        self.bias_table = nn.Parameter(torch.empty((2 * grams - 1) ** 2, heads))
        nn.init.trunc_normal_(self.bias_table, std=0.02)
        self.merge = nn.Conv2d(width, width, 1)

    def forward(self, x_bhwc: Tensor) -> Tensor:
        """Features with their context; sides must be multiples of the window."""
        side = self.window
        if self.formulation == "paper":
            context = self._context(self._unigrams(x_bhwc))
            return x_bhwc + context.repeat_interleave(side, 1).repeat_interleave(side, 2)
        context = self._context(self._fused_unigrams(x_bhwc))
        rows, columns = context.shape[1:3]
        windows = x_bhwc.unflatten(2, (columns, side)).unflatten(1, (rows, side))
        added: Tensor = windows + context[:, :, None, :, None]
        return added.view(x_bhwc.shape)

    def _context(self, unigrams: Tensor) -> Tensor:
        """Of each window: (b, rows, columns, c / 2) -> (b, rows, columns, c)."""
        both = torch.cat([self._bigrams(unigrams, False), self._bigrams(unigrams, True)], -1)
        context: Tensor = self.merge(both.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return context

    def _unigrams(self, x_bhwc: Tensor) -> Tensor:
        """Embed windows: (b, h, w, c) -> (b, rows, columns, c / 2)."""
        pairs = x_bhwc.shape[-1] // 2
        repeats = pairs // self.embed.groups
        weight = self.embed.weight.repeat(repeats, 1, 1, 1)
        bias = self.embed.bias
        assert bias is not None
        x = F.conv2d(
            x_bhwc.permute(0, 3, 1, 2), weight, bias.repeat(repeats), self.window, groups=pairs
        )
        return x.permute(0, 2, 3, 1)

    def _fused_unigrams(self, x_bhwc: Tensor) -> Tensor:
        """The same as sums of weighted pixels: kernels of a window are too large a convolution."""
        assert self.embed.bias is not None
        b, h, w, c = x_bhwc.shape
        side, repeats = self.window, c // 2 // self.embed.groups
        weight = self.embed.weight.permute(2, 3, 0, 1).flatten(2).repeat(1, 1, repeats)
        pixels = x_bhwc.reshape(b, h // side, side, w // side, side, c) * weight[:, None]
        sums = pixels.sum(2).sum(3)  # a row of whole lines first: they are long
        embedded: Tensor = sums.unflatten(-1, (c // 2, 2)).sum(-1)
        return embedded + self.embed.bias.repeat(repeats)

    def _bigrams(self, x_bhwc: Tensor, backward: bool) -> Tensor:
        """Average of the attention within each n x n neighbourhood: (b, rows, columns, c)."""
        n = self.grams
        padded = _reflect_ends(x_bhwc, n - 1, backward)
        grams = padded.unfold(1, n, 1).unfold(2, n, 1)  # (b, rows, columns, c, n, n)
        tokens = grams.permute(0, 1, 2, 4, 5, 3).flatten(3, 4).flatten(0, 2)  # (windows, n², c)
        q, k, v = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        mixed = (scores + table_bias(self.bias_table, n, 1)).softmax(-1) @ v
        projected: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return projected.mean(1).view(*x_bhwc.shape)


def _reflect_ends(x_bhwc: Tensor, extra: int, backward: bool) -> Tensor:
    """Reflect `extra` windows beyond the right and bottom, or before the left and top."""
    for dim in (1, 2):
        length = x_bhwc.shape[dim]
        step = torch.arange(extra, device=x_bhwc.device)
        near, far = (extra - step).clamp(max=length - 1), (length - 2 - step).clamp(min=0)
        edge = x_bhwc.index_select(dim, near if backward else far)
        x_bhwc = torch.cat([edge, x_bhwc] if backward else [x_bhwc, edge], dim)
    return x_bhwc
