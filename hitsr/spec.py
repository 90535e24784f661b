"""A network is a value: one backbone and a few choices, every value explicit.

`zoo` holds the six networks of the paper as values, `convert` is a function between values, and
an ablation is a patch on a value. `models.backbone` builds what a value describes.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveInt, Strict, StrictBool, model_validator

from hitsr.errors import SpecError, did_you_mean
from hitsr.values import Value

Scale = Literal[2, 3, 4]
Formulation = Literal["paper", "fused"]
Count = Annotated[PositiveInt, Strict()]  # no `true` for 1, no "48" for 48


class WindowAttention(Value):
    """Multi-head self-attention in windows, with a table of position biases (SwinIR)."""

    kind: Literal["window_attention"] = "window_attention"
    heads: Count = 6
    softmax: Literal[True] = True
    position: Literal["table"] = "table"


class PermutedAttention(Value):
    """Full queries against keys with 2x2 tokens folded into channels (SRFormer)."""

    kind: Literal["permuted_attention"] = "permuted_attention"
    heads: Count = 6
    softmax: Literal[True] = True
    position: Literal["table"] = "table"


class Correlation(Value):
    """Spatial and channel self-correlation in hierarchical windows (HiT-SR, section 3.3)."""

    kind: Literal["correlation"] = "correlation"
    heads: Count = 6
    branches: tuple[Literal["spatial"], Literal["channel"]] = ("spatial", "channel")
    features: Literal["dual"] = "dual"
    softmax: Literal[False] = False
    position: Literal["dynamic"] = "dynamic"
    # LayerNorm over fewer channels would erase the positions: (a, b) always becomes (1, -1).
    position_width: int = Field(default=3, ge=3, strict=True)


Mixer = Annotated[WindowAttention | PermutedAttention | Correlation, Field(discriminator="kind")]


class Ngram(Value):
    """Context from neighbouring windows (NGswin); where it enters follows from the mixer."""

    grams: Literal[2] = 2


class Ffn(Value):
    """Feed-forward network; `conv` adds a depthwise convolution between its two layers."""

    kind: Literal["mlp", "conv"] = "mlp"
    ratio: Count = 2
    kernel: Literal[5] = 5  # of the depthwise convolution, where there is one


class Windows(Value):
    """Side of each block's windows: base times its ratio."""

    base: Count = 8
    ratios: tuple[float, ...] = (1, 1, 1, 1, 1, 1)  # one per block of a group
    shift: StrictBool = True  # by half a window, in every second block

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
    """Everything that makes a network, but for the upscaling factor and the weights."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.]*$")
    mixer: Mixer
    context: Ngram | None = None
    ffn: Ffn = Ffn()
    windows: Windows = Windows()
    norm: Literal["before", "after"] = "before"  # of a branch; after: x + norm(branch(x))
    padding: Literal["picture", "mixer"] = "picture"  # what is extended to whole windows
    depths: tuple[Count, ...] = Field(default=(6, 6, 6, 6), min_length=1)  # blocks per group
    width: Count = 60
    stochastic_depth: float = Field(default=0.0, ge=0, lt=1)  # of the last block, in training
    mean: tuple[float, float, float] = (0.4488, 0.4371, 0.4040)  # RGB, of DIV2K

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        mixer, heads, sizes = self.mixer, self.mixer.heads, self.windows.sizes
        for depth in self.depths:
            if depth != len(sizes):
                raise ValueError(f"depths: {depth} blocks, but windows.ratios has {len(sizes)}")
        split = self.width // 2 if mixer.kind == "correlation" else self.width
        if self.width % 2:
            raise ValueError(f"width: {self.width} is odd; halves of it are mixed")
        if split % heads:
            raise ValueError(f"mixer.heads: {heads} heads do not divide {split} channels")
        if mixer.kind == "correlation":
            if self.windows.shift:
                raise ValueError("windows.shift: correlation mixes in unshifted windows only")
            if self.width < 5:
                raise ValueError("width: dual features need 5 channels or more")
        if mixer.kind == "permuted_attention":
            if self.width % 4:
                raise ValueError("width: permuted attention needs a multiple of 4")
            if any(side % 4 for side in sizes):
                raise ValueError("windows: permuted attention needs sides that 4 divides")
            if self.context:
                raise ValueError("context: permuted attention takes no n-gram context")
        if self.context and (self.width // 2) % heads:
            raise ValueError(f"context: {heads} heads do not divide {self.width // 2} channels")
        if self.padding == "picture" and any(max(sizes) % side for side in sizes):
            raise ValueError("padding: one picture size fits no such mix of windows; use 'mixer'")
        return self

    @property
    def blocks(self) -> int:
        return sum(self.depths)

    @property
    def multiples(self) -> tuple[int, ...]:
        """What each block's padded sides are multiples of: its window, or n-grams of it."""
        grams = self.context.grams if self.context and self.mixer.kind == "correlation" else 1
        return tuple(size * grams for size in self.windows.sizes)

    def patch(self, changes: dict[str, Any], where: str = "patch") -> "NetworkSpec":
        """A copy with dotted paths changed: `{"windows.ratios": [1, 1], "width": 48}`.

        SpecError for a path that does not exist, a value of the wrong type or outside the rules,
        or a non-empty patch that changes nothing.
        """
        patched = self.with_changes(changes, where)
        if changes and patched == self:
            raise SpecError(
                f"{where}: changes nothing in {self.name}; remove it or mend its values"
            )
        return patched

    def with_changes(self, changes: dict[str, Any], where: str) -> "NetworkSpec":
        """As `patch`, but changes may be none."""
        data = self.model_dump()
        for path, value in changes.items():
            parts = path.split(".")
            here = data
            for depth, part in enumerate(parts):
                above = parts[:depth]
                if not isinstance(here, dict):
                    raise SpecError(
                        f"{where}: no field {path!r}: {'.'.join(above)} is {here!r}; "
                        f"change {'.'.join(above)!r} as a whole"
                    )
                if part not in here:
                    under = "".join(f"{name}." for name in above)
                    near = did_you_mean(part, here, under)
                    raise SpecError(f"{where}: no field {path!r}; {near}")
                if depth < len(parts) - 1:
                    here = here[part]
            here[parts[-1]] = value
        return NetworkSpec.parse(data, where)


class ScaledNetwork(Value):
    """A network at one upscaling factor: what complexity and latency are measured on."""

    network: NetworkSpec
    scale: Scale

    @property
    def name(self) -> str:
        return f"{self.network.name}-x{self.scale}"
