"""What one call of an operator adds to the FLOPs: a formula, nothing, or nobody knows.

fvcore counts products, norms and some resampling. Arithmetic on single elements, reductions, copies
and other moves of data add nothing. What is in neither list may hide products: it is not counted,
and has to be named.

Shapes of attention: t queries, s keys, d width of queries and keys, e width of values.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._ops import HigherOrderOperator
from torch.utils.flop_counter import flop_registry

Formula = Callable[..., int]

COPIES = ("_to_copy", "_unsafe_view", "clone", "copy_", "detach_", "lift_fresh")
# Operators that make a tensor whose elements nobody has written yet.
ALLOCATIONS = (
    *("empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided"),
    "empty_permuted",
)
# What they launch is seen elsewhere (`measure.unseen`).
_KERNEL_WRAPPERS = ("triton_kernel_wrapper_mutation", "triton_kernel_wrapper_functional")
# Operators that add nothing although torch does not tag them as pointwise. Leading and trailing
# underscores (internal and in-place variants) are left out.
_ADD_NOTHING = frozenset(
    """
    bernoulli complex copy dequantize dropout empty_like equal exponential fill full_like glu
    hardswish is_nonzero item lift_fresh local_scalar_dense native_dropout new_empty
    new_empty_strided new_full new_ones new_zeros normal ones_like prelu prelu_kernel
    quantize_per_channel quantize_per_tensor rand_like randn_like resize resize_as
    rrelu_with_noise rsub set softshrink to_dense to_mkldnn to_sparse uniform zero zeros_like

    as_strided_scatter block_diag bucketize cat channel_shuffle chunk_cat col2im constant_pad_nd
    diagonal_scatter embedding flip gather im2col index index_copy index_fill index_put
    index_put_impl index_select masked_fill masked_scatter masked_select nonzero one_hot pad
    pixel_shuffle pixel_unshuffle put reflection_pad1d reflection_pad2d reflection_pad3d repeat
    repeat_interleave replication_pad1d replication_pad2d replication_pad3d roll rot90 scatter
    searchsorted select_scatter slice_scatter stack take to_copy tril triu unsafe_index
    unsafe_index_put unsafe_masked_index unsafe_split unsafe_split_with_sizes unsafe_view

    all amax amin aminmax any argmax argmin bincount count_nonzero cummax cummax_helper cummin
    cummin_helper cumprod cumsum histc index_add index_reduce kthvalue linalg_vector_norm
    log_softmax logcumsumexp logsumexp masked_softmax max mean median min mode nanmedian nansum
    norm prod safe_softmax scatter_add scatter_reduce softmax sort std std_mean sum topk trace
    unique unique2 unique_consecutive unique_dim var var_mean

    adaptive_max_pool2d adaptive_max_pool3d avg_pool1d avg_pool2d avg_pool3d
    max_pool2d_with_indices max_pool3d_with_indices max_unpool2d max_unpool3d upsample_bicubic2d
    upsample_bicubic2d_aa upsample_bilinear2d_aa upsample_lanczos2d_aa
    upsample_linear1d upsample_nearest1d upsample_nearest3d upsample_nearest_exact1d
    upsample_nearest_exact2d upsample_nearest_exact3d upsample_trilinear3d
    """.split()  # noqa: SIM905  (a list would take a page)
)


def formula(operator: Any) -> Formula | None:
    """A function that gives the FLOPs of a call as fvcore does; None for other operators.

    It takes the arguments of the call, and its result as `out_val`.
    """
    packet = getattr(operator, "_overloadpacket", operator)  # itself: a higher-order operator
    if packet in _AS_FVCORE:
        return _AS_FVCORE[packet]
    if packet not in flop_registry:
        return None
    return lambda *args, **kwargs: flop_registry[packet](*args, **kwargs) // 2


def is_product(operator: Any) -> bool:
    """Whether the elements of the operator's result are activations: of products, not of norms."""
    packet = getattr(operator, "_overloadpacket", operator)
    return packet is _ATTENTION or packet in flop_registry


def adds_nothing(operator: Any, has_input: bool) -> bool:
    """Whether a call of an operator without a formula is known to be no product.

    `has_input`: whether it is given tensors; else it makes a tensor of constants.
    """
    if isinstance(operator, HigherOrderOperator):
        return operator.name() in _KERNEL_WRAPPERS
    name = operator._opname.strip("_")
    return operator.namespace in ("aten", "prim", "prims") and (
        not has_input
        or operator.is_view
        or operator._opname in COPIES
        or torch.Tag.pointwise in operator.tags
        or name in _ADD_NOTHING
        or name.endswith("_copy")  # a view, as a tensor of its own
    )


def shown_name(operator: Any) -> str:
    """ "gelu"; "mylib::mix" for an operator that is not torch's own."""
    namespace, name = operator.namespace, getattr(operator, "_opname", None)
    if name is None:
        return str(operator.name())  # a higher-order operator
    if name == "native_layer_norm":
        return "layer_norm"  # as fvcore calls it
    return name if namespace == "aten" else f"{namespace}::{name}"


def _attention(
    query: Tensor, key: Tensor, value: Tensor, *_: object, out_val: Tensor, **__: object
) -> int:
    """The two products of attention: (.., t, d) x (.., d, s) and (.., t, s) x (.., s, e)."""
    queries = math.prod(out_val.shape[:-1])
    return queries * key.shape[-2] * (query.shape[-1] + value.shape[-1])


def _layer_norm(x: Tensor, _shape: object, weight: Tensor | None, *_: object, **__: object) -> int:
    return _norm(x, weight)


def _group_norm(
    x: Tensor, _groups: int, weight: Tensor | None = None, *_: object, **__: object
) -> int:
    return _norm(x, weight)


def _instance_norm(x: Tensor, weight: Tensor | None = None, *_: object, **__: object) -> int:
    return _norm(x, weight)


def _norm(x: Tensor, weight: Tensor | None) -> int:
    """Five per element, or four without learned weights."""
    return x.numel() * (4 if weight is None else 5)


def _batch_norm(x: Tensor, weight: Tensor | None = None, *_: object, **__: object) -> int:
    """With the statistics of training, which are known."""
    return x.numel() * (1 if weight is None else 2)


def _per_output(times: int) -> Formula:
    return lambda *_, out_val, **__: times * out_val.numel()


_aten = torch.ops.aten
_ATTENTION = _aten.scaled_dot_product_attention
_AS_FVCORE: dict[Any, Formula] = {
    _ATTENTION: _attention,
    _aten.native_layer_norm: _layer_norm,
    _aten.group_norm: _group_norm,
    _aten.instance_norm: _instance_norm,
    _aten.batch_norm: _batch_norm,
    _aten.upsample_nearest2d: _per_output(1),
    _aten.upsample_bilinear2d: _per_output(4),
    _aten.grid_sampler: _per_output(4),
    _aten.adaptive_avg_pool2d: lambda x, *_, **__: x.numel(),
}
