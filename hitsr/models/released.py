"""The released formulation: what the published code computes, in its order and on its devices.

The run times that the paper prints are of such code. It differs from `paper` in what is built when
and where, and in layouts:

- Attention keeps the indices of its position biases, and gathers the biases in every forward. Masks
  of the shift are kept for the training patch alone. For pictures of any other size, every block of
  every forward builds them on the CPU and copies them to the features' device: all zeros in a block
  without a shift.
- Correlation computes the position biases of all pairs of tokens in every forward, on the features'
  device. Dual features, padding and depthwise convolutions work on copies with channels first.
- From the second group on, features of a single picture have their channels first (`convolve`).

Parts that no published network has, such as a softmax in S-SC, are computed as in `paper`.

Shapes: b batch, h height, w width, c channels, n windows, t tokens of a window, s keys or base
cells of a window, m heads, d channels of a head; rows and columns are of windows.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hitsr.base.errors import SpecError
from hitsr.models.position import table_index
from hitsr.models.windows import SEPARATE, extend, merge, regions, roll, split
from hitsr.specs.published import patch_side

if TYPE_CHECKING:
    from hitsr.models.attention import Attention
    from hitsr.models.correlation import Correlation, DualFeatures
    from hitsr.models.ffn import FeedForward
    from hitsr.models.ngram import NgramContext


def check_precision(dtype: torch.dtype) -> None:
    """Raise SpecError for 16-bit pictures, on which the published code fails."""
    if dtype in (torch.float16, torch.bfloat16):
        raise SpecError(
            f"formulation 'released': not in {str(dtype).removeprefix('torch.')}, because the "
            "published code makes masks and offsets of float32; use autocast, or formulation "
            "'paper' or 'fused'"
        )


def prepare_attention(mixer: "Attention") -> None:
    """Keep the indices of biases, and the masks of the training patch if there is a shift."""
    if mixer.bias_table is not None:
        prepare_biases(mixer, mixer.window, mixer.fold)
    side = patch_side(mixer.window)
    mask = mask_on_cpu(mixer, side, side).to(mixer.proj.weight.device) if mixer.shift else None
    mixer.register_buffer("patch_mask", mask, persistent=False)


def prepare_biases(module: "Attention | NgramContext", side: int, fold: int) -> None:
    """Keep which entry of its table is the bias of each token towards each key: (t, s)."""
    assert module.bias_table is not None
    index = table_index(side, fold, module.bias_table.device)
    module.register_buffer("bias_index", index, persistent=False)


def attention(mixer: "Attention", x_bhwc: Tensor) -> Tensor:
    """`Attention._paper`: (b, h, w, c) -> (b, h, w, c)."""
    _, h, w, _ = x_bhwc.shape
    x_ntc = split(roll(x_bhwc, -mixer.shift), mixer.window)
    bias = None if mixer.bias_table is None else gathered_bias(mixer)
    mask = mixer.patch_mask
    if h != w or h != patch_side(mixer.window):
        mask = mask_on_cpu(mixer, h, w).to(x_bhwc.device)
    return mixer.attend(*_split_heads(mixer, x_ntc), bias, mask, h, w)


def gathered_bias(module: "Attention | NgramContext") -> Tensor:
    """Bias of each token towards each key, gathered by the kept indices: (m, t, s)."""
    assert module.bias_table is not None
    biases = module.bias_table[module.bias_index.flatten()]
    return biases.view(*module.bias_index.shape, -1).permute(2, 0, 1).contiguous()


def correlation(mixer: "Correlation", x_bhwc: Tensor) -> Tensor:
    """`Correlation._paper`: (b, h, w, c) -> (b, h, w, c)."""
    _, h, w, _ = x_bhwc.shape
    qv = mixer.features(x_bhwc)
    if mixer.context is not None:
        qv = mixer.context(qv)
    windows = split(roll(qv, -mixer.shift), mixer.window)
    heads = 1 if mixer.to_base is None else mixer.heads
    q, v = windows.unflatten(-1, (2, heads, -1)).permute(2, 0, 3, 1, 4).contiguous()
    branches = []
    if mixer.to_base is not None:
        branches.append(_spatial(mixer, q, v))
    if mixer.channel:
        branches.append(_channel(q, v))
    mixed = torch.cat([merge(branch, mixer.window, h, w) for branch in branches], -1)
    out: Tensor = mixer.proj(mixed)
    return roll(out, mixer.shift)


def convolve(conv: nn.Conv2d, x_bhwc: Tensor) -> Tensor:
    """`backbone.convolve`, from and to rows of tokens: (b, h, w, c) -> (b, h, w, c').

    PyTorch does not see that a single picture viewed like this has its channels last. It convolves
    with channels first, and all features that this result is added to become so in memory, too.
    """
    b, h, w, c = x_bhwc.shape
    out: Tensor = conv(x_bhwc.flatten(1, 2).transpose(1, 2).view(b, c, h, w))
    return out.flatten(2).transpose(1, 2).view(b, h, w, -1)


def features(module: "DualFeatures", x_bhwc: Tensor) -> Tensor:
    """`DualFeatures.forward`, with channels first: (b, h, w, c) -> (b, h, w, c)."""
    x = x_bhwc.permute(0, 3, 1, 2).contiguous()
    out: Tensor
    if module.kind == "linear":
        out = module.gate(x)
    else:
        narrow = F.leaky_relu(module.squeeze(x), 0.2, inplace=True)
        out = module.expand(F.leaky_relu(module.spatial(narrow), 0.2, inplace=True))
        if module.kind == "dual":
            out = out * module.gate(x)
    return out.permute(0, 2, 3, 1).contiguous()


def add_context(module: "NgramContext", x_bhwc: Tensor) -> Tensor:
    """`NgramContext` in the paper formulation: (b, h, w, c) -> (b, h, w, c)."""
    b, h, w, c = x_bhwc.shape
    side = module.window
    unigrams = _unigrams(module, x_bhwc.permute(0, 3, 1, 2))
    both = torch.cat([_bigrams(module, unigrams, backward) for backward in (False, True)], 1)
    context: Tensor = module.merge(both).permute(0, 2, 3, 1).contiguous()
    windows = x_bhwc.view(b, h // side, side, w // side, side, c)
    added = windows + context[:, :, None, :, None]
    return added.view(x_bhwc.shape)


def feed_forward(ffn: "FeedForward", x_bhwc: Tensor) -> Tensor:
    """`FeedForward.paper`, its depthwise convolution with channels first: (b, h, w, c), same."""
    b, h, w, _ = x_bhwc.shape
    x = F.gelu(ffn.expand(x_bhwc.flatten(1, 2)))
    if ffn.depthwise is not None:
        convolved = F.gelu(ffn.depthwise(x.transpose(1, 2).contiguous().view(b, -1, h, w)))
        x = x + convolved.flatten(2).transpose(1, 2).contiguous()
    out: Tensor = ffn.reduce(x)
    return out.view(b, h, w, -1)


def padded(x_bhwc: Tensor, multiple: int) -> Tensor:
    """`windows.extend`, with channels first, and copied where nothing is missing, too."""
    x = x_bhwc.permute(0, 3, 1, 2).contiguous()
    h, w = x.shape[2:]
    down, right = -h % multiple, -w % multiple
    if down < h and right < w:
        x = F.pad(x, (0, right, 0, down), "reflect")
    else:  # more than one reflection, which `pad` refuses
        x = extend(x, multiple, (2, 3))
    return x.permute(0, 2, 3, 1).contiguous()


def mask_on_cpu(mixer: "Attention", h: int, w: int) -> Tensor:
    """`Attention.mask`, on the CPU, also without a shift: (windows of a picture, t, s)."""

    def numbered(h: int, w: int, side: int, shift: int) -> Tensor:
        return split(regions(h, w, side, shift, torch.device("cpu")), side)[..., 0]

    fold, side, shift = mixer.fold, mixer.window, mixer.shift
    tokens = keys = numbered(h, w, side, shift)
    if fold > 1:
        keys = numbered(h // fold, w // fold, side // fold, shift // fold)
    apart = tokens[:, :, None] - keys[:, None, :]
    return apart.masked_fill(apart != 0, SEPARATE).masked_fill(apart == 0, 0.0)


def _split_heads(mixer: "Attention", x_ntc: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries (n, m, t, d), keys and values (n, m, s, d); permuted queries have their own layer."""
    if mixer.fold == 1:
        return mixer.split_heads(mixer.qkv(x_ntc))
    queries, rest = mixer.widths[0], sum(mixer.widths[1:])
    weights, biases = (each.split((queries, rest)) for each in (mixer.qkv.weight, mixer.qkv.bias))
    q, kv = (F.linear(x_ntc, *layer) for layer in zip(weights, biases, strict=True))
    return mixer.in_heads(q, *kv.chunk(2, -1))


def _spatial(mixer: "Correlation", q_nmtd: Tensor, v_nmtd: Tensor) -> Tensor:
    """S-SC: (n, t, c)."""
    v = mixer.base_cells(v_nmtd)
    scores = q_nmtd @ v.transpose(-2, -1) / q_nmtd.shape[-1]
    if mixer.position is not None:
        table = mixer.position.by_offset(mixer.window)
        scores = scores + _averaged_bias(table, mixer.window, mixer.ratio)
    if mixer.softmax:
        scores = scores.softmax(-1)
    return (scores @ v).transpose(1, 2).flatten(2)


def _channel(q_nmtd: Tensor, v_nmtd: Tensor) -> Tensor:
    """C-SC: (n, t, c)."""
    q, v = (x.transpose(1, 2).flatten(2) for x in (q_nmtd, v_nmtd))
    scores = q.transpose(-2, -1) @ v / q.shape[1]
    return (scores @ v.transpose(-2, -1)).transpose(-2, -1).contiguous()


def _averaged_bias(table: Tensor, side: int, ratio: int) -> Tensor:
    """`position.averaged_bias`, from biases by offset: ((2 side - 1)², m) -> (m, t, s)."""
    line = torch.arange(side, device=table.device)
    cells = torch.stack(torch.meshgrid(line, line, indexing="ij")).flatten(1)
    offsets = (cells[:, :, None] - cells[:, None, :]).permute(1, 2, 0).contiguous()  # (t, t, 2)
    offsets[..., 0] += side - 1
    offsets[..., 0] *= 2 * side - 1
    offsets[..., 1] += side - 1
    biases = table[offsets.sum(-1).flatten()]
    base, heads = side // ratio, table.shape[-1]
    blocks = biases.view(side**2, base, ratio, base, ratio, heads).permute(0, 1, 3, 5, 2, 4)
    means = blocks.reshape(side**2, base**2, heads, ratio**2).mean(-1)
    return means.permute(2, 0, 1).contiguous()


def _unigrams(module: "NgramContext", x_bchw: Tensor) -> Tensor:
    """Embed windows: (b, c, h, w) -> (b, c / 2, rows, columns)."""
    pairs = x_bchw.shape[1] // 2
    if module.embed.groups == pairs:
        embedded: Tensor = module.embed(x_bchw)
        return embedded
    alone = x_bchw.contiguous().unflatten(1, (pairs, 2)).flatten(0, 1)  # one filter for all pairs
    embedded = module.embed(alone)
    return embedded.view(-1, pairs, *embedded.shape[2:])


def _bigrams(module: "NgramContext", unigrams: Tensor, backward: bool) -> Tensor:
    """Average of the attention within each 2x2 windows: (b, c, rows, columns)."""
    n = module.grams
    around = _reflect_ends(unigrams, backward).unfold(2, n, 1).unfold(3, n, 1)
    laid_out = around.permute(0, 2, 4, 3, 5, 1).flatten(3, 4).flatten(1, 2)  # n times as high
    mixed = module.attend(split(laid_out, n), gathered_bias(module))
    return F.avg_pool2d(merge(mixed, n, *laid_out.shape[1:3]).permute(0, 3, 1, 2), n)


def _reflect_ends(x_bchw: Tensor, backward: bool) -> Tensor:
    """Reflect one window beyond the right and bottom, or with `backward` the left and top."""
    x = F.pad(x_bchw, (1, 0, 1, 0) if backward else (0, 1, 0, 1))
    for dim in (2, 3):
        length = x.shape[dim]  # with the window beyond, at place 0 if backward, else the last
        beyond, inside = (0, min(2, length - 1)) if backward else (-1, max(length - 3, 0))
        x.select(dim, beyond).copy_(x.select(dim, inside))
    return x
