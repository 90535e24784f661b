"""A block on a CUDA device: a kernel for each branch, or for each of a few steps.

The second branch has one kernel with gradients and without. The first branch has kernels of its own
where no gradient is wanted; with gradients, its parts have some (`attention`, `correlation`,
`norm`). Shapes that no kernel takes, and blocks with hooks, are computed by PyTorch's operators.

Shapes: b batch, h height, w width, c channels.
"""

from functools import partial
from typing import TYPE_CHECKING, TypedDict

import torch
from torch import Tensor, nn

from hitsr.models.attention import Attention
from hitsr.models.correlation import Correlation
from hitsr.models.fused.cuda.attention import bias_of_cells, sizes_of
from hitsr.models.fused.cuda.choice import best, has_hooks
from hitsr.models.fused.position import pooled_bias
from hitsr.models.ngram import NgramContext
from hitsr.models.position import table_bias
from hitsr.models.precision import autocast_dtype
from hitsr.runtime.trials import Way

if TYPE_CHECKING:
    from hitsr.models.block import Block


def forward(block: "Block", x_bhwc: Tensor, factors: Tensor | None) -> Tensor:
    """`Block.forward`: (b, h, w, c) -> (b, h, w, c), where branches are multiplied by `factors`."""
    if has_hooks(block.mixer) or has_hooks(block.ffn):
        return block.step_by_step(x_bhwc, factors)
    first, second = (None, None) if factors is None else factors
    return _fed_forward(block, _mixed(block, x_bhwc, first), second)


def _mixed(block: "Block", x_bhwc: Tensor, factor: Tensor | None) -> Tensor:
    """x plus the first branch times `factor`, (b, 1, 1, 1)."""

    def plain(x: Tensor) -> Tensor:
        return block.added(x, block.normed(block.mix, block.norm1, x), factor)

    if block.training or _wants_gradients(block, x_bhwc):
        return plain(x_bhwc)
    kernel = partial(_mixing_kernel, block, x_bhwc)
    name, sizes = _mixing(block.mixer)
    return best(f"{name} branch", kernel, plain, (x_bhwc,), sizes=sizes)(x_bhwc)


def _mixing(mixer: nn.Module) -> tuple[str, dict[str, int]]:
    """Name of a mixer, and what makes its branch another program."""
    match mixer:
        case Attention():
            return "attention", sizes_of(mixer) | {"context": int(mixer.context is not None)}
        case Correlation():
            sizes = {"window": mixer.window, "ratio": mixer.ratio, "heads": mixer.heads}
            sizes |= {"positions": int(mixer.position is not None)}
            return "correlation", sizes | {"context": int(mixer.context is not None)}
        case _:
            return type(mixer).__name__, {}


def _wants_gradients(block: "Block", x: Tensor) -> bool:
    if not torch.is_grad_enabled():
        return False
    return x.requires_grad or any(each.requires_grad for each in block.parameters())


def _mixing_kernel(block: "Block", x_bhwc: Tensor) -> Way | None:
    """x plus the first branch by kernels; None where they do not take it."""
    whole = all(side % block.multiple == 0 for side in x_bhwc.shape[1:3])
    match block.mixer:
        case Attention(fold=1) as mixer if whole and not block.norm_after:
            return _attention_kernel(block, mixer, x_bhwc)
        case Attention(context=None) as mixer if whole and not block.norm_after:
            return _permuted_kernel(block, mixer, x_bhwc)
        case Correlation() as mixer if block.norm_after:
            return _correlation_kernel(block, mixer, x_bhwc)
        case _:
            return None


def _products(x: Tensor) -> torch.dtype:
    """The dtype of products."""
    return autocast_dtype(x.device.type) or x.dtype


def _attention_kernel(block: "Block", mixer: Attention, x_bhwc: Tensor) -> Way | None:
    """Norm, attention, projection and sum in one kernel; two more for an n-gram context."""
    from hitsr.models.fused.cuda.kernels import attention_branch, ngram

    dtype, norm, context = _products(x_bhwc), block.norm1, mixer.context
    if attention_branch.why_not_branch(x_bhwc, mixer.qkv, mixer.heads, mixer.window):
        return None
    if context is not None and ngram.why_not_context(x_bhwc, context.window, context.grams):
        return None

    def way(x: Tensor) -> Tensor:
        added = None
        if context is not None:
            added = ngram.context_of(context, x, _bias_of_windows(context), norm, dtype)
        return attention_branch.attention_branch(
            x,
            norm,
            mixer.qkv,
            mixer.proj,
            bias_of_cells(mixer),
            heads=mixer.heads,
            window=mixer.window,
            shift=mixer.shift,
            context=added,
            dtype=dtype,
        )

    return way


def _permuted_kernel(block: "Block", mixer: Attention, x_bhwc: Tensor) -> Way | None:
    """Norm and first layer in one kernel; attention, projection and sum in a second one."""
    from hitsr.models.fused.cuda.kernels import attention, linear

    dtype, qkv = _products(x_bhwc), mixer.qkv
    heads, window, fold = mixer.heads, mixer.window, mixer.fold
    if attention.why_not(x_bhwc, heads=heads, window=window, fold=fold, projected=True):
        return None
    if linear.why_not(x_bhwc, qkv.out_features):
        return None

    def way(x: Tensor) -> Tensor:
        features = linear.linear(x, qkv.weight, qkv.bias, norm=block.norm1, dtype=dtype)
        return attention.attend_and_project(
            features,
            bias_of_cells(mixer),
            mixer.proj,
            x,
            heads=heads,
            window=window,
            shift=mixer.shift,
            fold=fold,
            dtype=dtype,
        )

    return way


def _correlation_kernel(block: "Block", mixer: Correlation, x_bhwc: Tensor) -> Way | None:
    """Features, correlation, norm and sum in two or four kernels; three more for a context."""
    from hitsr.models.fused.cuda.kernels import correlation, ngram

    position, context, dtype = mixer.position, mixer.context, _products(x_bhwc)
    if correlation.why_not_correlation(x_bhwc, mixer):
        return None
    if context is not None and ngram.why_not_context(x_bhwc, context.window, context.grams):
        return None

    def bias() -> Tensor:
        assert position is not None
        pooled = pooled_bias(position(mixer.window), mixer.ratio)
        made: Tensor = correlation.laid_out(pooled, mixer.window, mixer.ratio)
        return made

    def way(x: Tensor) -> Tensor:
        laid_out = None if position is None else mixer.cache.get(position, "laid out", bias)

        def added(context: NgramContext, qv: Tensor) -> Tensor:
            return ngram.context_of(context, qv, _bias_of_windows(context))

        mixed: Tensor = correlation.correlation_branch(
            x,
            block.norm1,
            mixer,
            laid_out,
            dtype=dtype,
            context_of=added,
        )
        return mixed

    return way


def _bias_of_windows(context: NgramContext) -> Tensor:
    """Position biases between the windows that attend to each other: (m, grams², grams²)."""

    def compute() -> Tensor:
        return table_bias(context.bias_table, context.grams, 1).contiguous()

    return context.cache.get(context, "of windows", compute)


def _fed_forward(block: "Block", x_bhwc: Tensor, factor: Tensor | None) -> Tensor:
    """x plus the second branch times `factor`, (b, 1, 1, 1)."""
    ffn, norm, residual = block.ffn, block.norm2, factor is None
    expand, depthwise, reduce = ffn.expand, ffn.depthwise, ffn.reduce

    def plain(x: Tensor) -> Tensor:
        branch = block.normed(ffn, norm, x)
        return x + branch if residual else branch

    def kernel() -> Way | None:
        from hitsr.models.fused.cuda.kernels import conv_ffn, mlp

        options = _Options(norm_after=block.norm_after, residual=residual, dtype=_products(x_bhwc))
        if depthwise is None:
            if mlp.why_not(x_bhwc, norm, expand, reduce):
                return None
            return lambda x: mlp.mlp_branch(x, norm, expand, reduce, **options)
        if conv_ffn.why_not(x_bhwc, norm, expand, depthwise, reduce):
            return None
        return lambda x: conv_ffn.conv_branch(x, norm, expand, depthwise, reduce, **options)

    sizes = {
        "hidden": expand.out_features,
        "convolution": 0 if depthwise is None else depthwise.kernel_size[0],
        "norm after": int(block.norm_after),
        "residual": int(residual),
    }
    parameters = [*norm.parameters(), *ffn.parameters()]
    way = best("feed-forward branch", kernel, plain, (x_bhwc,), parameters, sizes)
    found = way(x_bhwc)
    return found if residual else block.added(x_bhwc, found, factor)


class _Options(TypedDict):
    """Of both feed-forward branches."""

    norm_after: bool
    residual: bool
    dtype: torch.dtype
