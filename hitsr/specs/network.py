"""A network is a value: one backbone and a few choices, every value explicit.

`zoo` holds the six networks of the paper as values, `convert` is a function between values, and
an ablation changes a value. `models.backbone` builds what a value describes.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    StrictBool,
    ValidationInfo,
    field_validator,
    model_validator,
)

from hitsr.base.changes import patched
from hitsr.base.errors import SpecError, cut
from hitsr.base.names import Name
from hitsr.base.values import Count, Number, Value

Scale = Literal[2, 3, 4]
Formulation = Literal["released", "paper", "fused"]
Branch = Literal["spatial", "channel"]
Features = Literal["dual", "linear", "conv"]
Upsampler = Literal["one_step", "two_stage"]
# What computes the products of a mixer; see `kernel_of`.
Kernel = Literal[
    "as written",
    "re-associated",
    "scaled_dot_product_attention",
    "scaled_dot_product_attention, re-associated",
    "tiles",
    "tiles, scaled_dot_product_attention",
    "Triton kernels",  # in all blocks or in some; on GPUs
]
# The most position biases (heads x tokens x keys, 4 MB) that a block holds at once.
MOST_LAID_OUT = 2**20
Share = Annotated[Number, Field(ge=0, le=1)]


class WindowAttention(Value):
    """Multi-head self-attention in windows, with a table of position biases or none (SwinIR)."""

    kind: Literal["window_attention"] = "window_attention"
    heads: Count = 6
    softmax: Literal[True] = True
    position: Literal["table", "none"] = "table"


class PermutedAttention(Value):
    """Attention of full queries to keys whose 2x2 tokens are folded into channels (SRFormer)."""

    kind: Literal["permuted_attention"] = "permuted_attention"
    heads: Count = 6
    softmax: Literal[True] = True
    position: Literal["table", "none"] = "table"


class TransposedAttention(Value):
    """Attention between the channels of a window, without positions (Restormer's MDTA)."""

    kind: Literal["transposed_attention"] = "transposed_attention"
    heads: Count = 6


class Correlation(Value):
    """Spatial and channel self-correlation in hierarchical windows (HiT-SR, section 3.3).

    Heads, softmax and positions belong to the spatial branch. Without it `position` becomes "none",
    so that equal networks are equal values. With `softmax`, too, products are divided by
    the head's width. A position table holds every offset within the block's own window,
    (2 side - 1)² for each head, so it fits any window and soon outweighs the rest of the block.
    """

    kind: Literal["correlation"] = "correlation"
    heads: Count = 6
    branches: tuple[Branch, ...] = ("spatial", "channel")
    features: Features = "dual"  # dual: convolution times 1x1 layer; else only one of them
    softmax: StrictBool = False
    position: Literal["dynamic", "table", "none"] = Field(default="dynamic", validate_default=True)
    # LayerNorm over fewer channels would erase the positions: (a, b) always becomes (1, -1).
    position_width: Annotated[Count, Field(ge=3)] = 3

    @field_validator("branches")
    @classmethod
    def _one_or_both(cls, branches: tuple[Branch, ...]) -> tuple[Branch, ...]:
        if branches not in (("spatial", "channel"), ("spatial",), ("channel",)):
            raise ValueError("must be ['spatial'], ['channel'], or both in this order")
        return branches

    @field_validator("softmax")
    @classmethod
    def _softmax_is_spatial(cls, softmax: bool, info: ValidationInfo) -> bool:
        if softmax and info.data.get("branches") == ("channel",):
            raise ValueError(
                "softmax belongs to the spatial branch, which is not in mixer.branches"
            )
        return softmax

    @field_validator("position")
    @classmethod
    def _positions_are_spatial(cls, position: str, info: ValidationInfo) -> str:
        if info.data.get("branches") != ("channel",):
            return position
        if position == "table":
            raise ValueError(
                "the table belongs to the spatial branch, which is not in mixer.branches"
            )
        return "none"


Mixer = Annotated[
    WindowAttention | PermutedAttention | TransposedAttention | Correlation,
    Field(discriminator="kind"),
]


class Ngram(Value):
    """Context from neighbouring windows (NGswin); the mixer determines where it is added."""

    grams: Literal[2] = 2


class Ffn(Value):
    """Feed-forward network; `conv` adds a depthwise convolution between its two layers."""

    kind: Literal["mlp", "conv"] = "mlp"
    ratio: Count = 2
    kernel: Literal[5] = 5  # of the depthwise convolution, where there is one


class Windows(Value):
    """Side of each block's windows: base times its ratio."""

    base: Annotated[Count, Field(le=256)] = 8
    ratios: tuple[Annotated[Number, Field(le=256)], ...] = (
        1,
        1,
        1,
        1,
        1,
        1,
    )  # one per block of a group
    shift: StrictBool = True  # by half a window, in every second block; cyclic

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(int(self.base * ratio) for ratio in self.ratios)

    @model_validator(mode="after")
    def _sides_are_whole(self) -> Self:
        for ratio in self.ratios:
            side = self.base * ratio
            if side < 1 or side != int(side):
                raise ValueError(f"ratio {ratio:g} of base {self.base} gives no whole window side")
            if side > self.base and side % self.base:
                raise ValueError(f"window {side:g} is not a multiple of its base {self.base}")
        return self


class NetworkSpec(Value):
    """A network with every value explicit, except the upscaling factor and the weights."""

    name: Name
    mixer: Mixer
    context: Ngram | None = None
    ffn: Ffn = Ffn()
    windows: Windows = Windows()
    norm: Literal["before", "after"] = (
        "before"  # position of a branch's norm; after: x + norm(branch(x))
    )
    padding: Literal["picture", "mixer"] = "picture"  # what is padded to whole windows
    depths: tuple[Count, ...] = Field(default=(6, 6, 6, 6), min_length=1)  # blocks per group
    width: Count = 60
    upsampler: Upsampler = "one_step"  # two_stage: as in classical networks
    stochastic_depth: Number = Field(default=0.0, ge=0, lt=1)  # of the last block, in training
    mean: tuple[Share, Share, Share] = (0.4488, 0.4371, 0.4040)  # RGB, of DIV2K

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        for misfit in _misfits(self):
            raise ValueError(misfit)
        return self

    @property
    def blocks(self) -> int:
        return sum(self.depths)

    @property
    def multiples(self) -> tuple[int, ...]:
        """Per block: the number that the sides of its input are padded to a multiple of."""
        grams = self.context.grams if self.context and self.padding == "mixer" else 1
        return tuple(size * grams for size in self.windows.sizes)

    def patch(self, changes: dict[str, Any], where: str = "changes") -> "NetworkSpec":
        """A copy with new values at dotted paths: `{"windows.ratios": [1, 1], "width": 48}`.

        Another kind of mixer is given as a whole: `{"mixer": {"kind": "window_attention"}}`.
        Raises SpecError for an unknown path, an invalid value, a field without effect on the new
        network, and changes that change nothing.
        """
        network = self.with_changes(changes, where)
        if changes and network == self:
            raise SpecError(
                f"{where}: changes nothing in {self.name}; remove it or correct its values"
            )
        return network

    def with_changes(self, changes: dict[str, Any], where: str) -> "NetworkSpec":
        """As `patch`, but allows changes that change nothing."""
        if "mixer.kind" in changes:
            raise SpecError(
                f"{where}: mixer.kind: each kind of mixer has its own fields; change 'mixer' as a "
                f"whole, such as mixer: {{kind: {cut(str(changes['mixer.kind']))}, heads: 6}}"
            )
        network = NetworkSpec.parse(patched(self.model_dump(), changes, where), where)
        for path, reason in _unread(network).items():
            if path in changes:
                raise SpecError(f"{where}: {path}: has no effect: {reason}; leave it out")
        return network


class ScaledNetwork(Value):
    """A network at one upscaling factor."""

    network: NetworkSpec
    scale: Scale

    @property
    def name(self) -> str:
        return f"{self.network.name}-x{self.scale}"


def kernel_of(network: NetworkSpec, formulation: Formulation, in_tiles: bool = False) -> Kernel:
    """Name what computes the products of a network's mixers without Triton kernels, for records.

    "as written": one product after the other. "re-associated": products in another order.
    "scaled_dot_product_attention": PyTorch's kernel, for branches with softmax. "tiles": attention
    in a few windows at a time, unless windows are large; used on CPUs (`in_tiles`). Two names: both
    are used, in different blocks or branches.
    """
    if formulation != "fused":
        return "as written"
    match network.mixer:
        case (WindowAttention() | PermutedAttention()) as mixer:
            fold = 2 if mixer.kind == "permuted_attention" else 1
            large = {is_large(mixer.heads, side, fold) for side in network.windows.sizes}
            if not in_tiles or large == {True}:
                return "scaled_dot_product_attention"
            return "tiles, scaled_dot_product_attention" if True in large else "tiles"
        case Correlation(softmax=True, branches=("spatial",)):
            return "scaled_dot_product_attention"
        case Correlation(softmax=True):
            return "scaled_dot_product_attention, re-associated"
        case _:
            return "re-associated"


def is_large(heads: int, side: int, fold: int) -> bool:
    """Whether a window has more position biases than a block may hold at once."""
    return heads * side**4 // fold**2 > MOST_LAID_OUT


def _misfits(network: NetworkSpec) -> Iterator[str]:
    """Parts that do not fit each other, as messages with key and rule."""
    width, sizes, context = network.width, network.windows.sizes, network.context
    for depth in network.depths:
        if depth != len(sizes):
            yield f"depths: {depth} blocks, but windows.ratios has {len(sizes)}; give one for each"
    if width % 2:
        yield f"width: {width} is odd; it must be even"
    yield from _mixer_misfits(network.mixer, width, sizes)
    if context and (width // 2) % network.mixer.heads:
        yield f"context: {network.mixer.heads} heads do not divide {width // 2} channels"
    if network.padding == "picture" and any(max(sizes) % side for side in sizes):
        yield "padding: 'picture' needs window sides that divide the largest one; use 'mixer'"


def _mixer_misfits(mixer: Mixer, width: int, sizes: tuple[int, ...]) -> Iterator[str]:
    split: int | None = width  # channels that the heads share
    match mixer:
        case Correlation():
            split = width // 2 if "spatial" in mixer.branches else None
            if mixer.features != "linear" and width < 5:
                yield f"width: {width}, but mixer.features {mixer.features!r} needs 5 or more"
        case PermutedAttention():
            if width % 4:
                yield "width: permuted attention needs a multiple of 4"
            if any(side % 4 for side in sizes):
                yield "windows: permuted attention needs sides that 4 divides"
        case _:
            pass
    if split and split % mixer.heads:
        yield f"mixer.heads: {mixer.heads} heads do not divide {split} channels"


def _unread(network: NetworkSpec) -> dict[str, str]:
    """Fields that have no effect on a network, with the reason."""
    fields: dict[str, str] = {}
    mixer = network.mixer
    if isinstance(mixer, Correlation):
        if "spatial" not in mixer.branches:
            reason = "it belongs to the spatial branch, which is not in mixer.branches"
            fields |= dict.fromkeys(("mixer.softmax", "mixer.position"), reason)
            if not network.context:
                fields["mixer.heads"] = reason
        if mixer.position != "dynamic":
            fields["mixer.position_width"] = "it belongs to dynamic positions"
    if max(network.depths) == 1:
        fields["windows.shift"] = "no group has a second block"
    return fields
