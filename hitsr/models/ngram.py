"""N-gram context: what neighbouring windows tell each window (NGswin, CVPR 2023).

Shapes: b batch, h height, w width, c channels; rows and columns are of windows; n side of the
square of windows that attend to each other.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hitsr.models import released
from hitsr.models.fused import ngram as fused
from hitsr.models.fused.cache import EvalCache
from hitsr.models.position import table_bias
from hitsr.models.precision import linear
from hitsr.models.windows import reflect_ends
from hitsr.specs.network import Formulation


class NgramContext(nn.Module):
    """Adds one context vector per window to its tokens: (b, h, w, c) -> (b, h, w, c).

    h and w are multiples of `window`. Windows are embedded pair of channels by pair of channels
    into c / 2 channels. Each embedding attends to its neighbours on the right and below, and in a
    second pass to those on the left and above; beyond the last window neighbours are reflected.
    Both averages are concatenated and merged. `shared`: one filter embeds all pairs, not one each.
    """

    bias_index: Tensor  # of the released formulation alone

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
        filters = 1 if shared else half
        self.embed = nn.Conv2d(2 * filters, filters, window, stride=window, groups=filters)
        self.qkv = nn.Linear(half, 3 * half)
        self.proj = nn.Linear(half, half)
        self.bias_table = nn.Parameter(torch.empty((2 * grams - 1) ** 2, heads))
        nn.init.trunc_normal_(self.bias_table, std=0.02)
        self.merge = nn.Conv2d(width, width, 1)
        self.cache = EvalCache()
        if formulation == "released":
            released.prepare_biases(self, grams, 1)

    def forward(self, x_bhwc: Tensor) -> Tensor:
        """Features plus their window's context."""
        match self.formulation:
            case "released":
                return released.add_context(self, x_bhwc)
            case "paper":
                context, side = self.context_of(self._unigrams(x_bhwc)), self.window
                return x_bhwc + context.repeat_interleave(side, 1).repeat_interleave(side, 2)
            case "fused":
                return fused.add_context(self, x_bhwc)

    def _unigrams(self, x_bhwc: Tensor) -> Tensor:
        """Embed windows: (b, h, w, c) -> (b, rows, columns, c / 2)."""
        pairs = x_bhwc.shape[-1] // 2
        repeats = pairs // self.embed.groups
        weight = self.embed.weight.to(x_bhwc.dtype).repeat(repeats, 1, 1, 1)
        assert self.embed.bias is not None
        bias = self.embed.bias.to(x_bhwc.dtype)
        x = F.conv2d(
            x_bhwc.permute(0, 3, 1, 2), weight, bias.repeat(repeats), self.window, groups=pairs
        )
        return x.permute(0, 2, 3, 1)

    def context_of(self, unigrams: Tensor) -> Tensor:
        """Context of each window: (b, rows, columns, c / 2) -> (b, rows, columns, c)."""
        both = torch.cat([self._bigrams(unigrams, False), self._bigrams(unigrams, True)], -1)
        return self.merged(both)

    def merged(self, both_bhwc: Tensor) -> Tensor:
        """Merge both averages: (b, rows, columns, c), the same shape."""
        weight, bias = self.merge.weight.flatten(1), self.merge.bias
        assert bias is not None
        return F.linear(both_bhwc, weight.to(both_bhwc.dtype), bias.to(both_bhwc.dtype))

    def _bigrams(self, x_bhwc: Tensor, backward: bool) -> Tensor:
        """Average of the attention within each n x n windows: (b, rows, columns, c)."""
        n = self.grams
        padded = reflect_ends(x_bhwc, n - 1, backward)
        grams = padded.unfold(1, n, 1).unfold(2, n, 1)  # (b, rows, columns, c, n, n)
        tokens = grams.permute(0, 1, 2, 4, 5, 3).flatten(3, 4).flatten(0, 2)  # (windows, n², c)
        mixed = self.attend(tokens, table_bias(self.bias_table, n, 1))
        return mixed.mean(1).view(*x_bhwc.shape)

    def attend(self, tokens: Tensor, bias: Tensor) -> Tensor:
        """Attention among the embeddings of n x n windows: (squares, n², c), same shape."""
        q, k, v = linear(self.qkv, tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        mixed = (scores + bias).softmax(-1).to(v.dtype) @ v
        return linear(self.proj, mixed.transpose(1, 2).flatten(2))
