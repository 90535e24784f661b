"""Records of local attribution maps."""

from pathlib import PurePosixPath
from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from hitsr.base.values import Value
from hitsr.records.record import Record, Sha256
from hitsr.specs.network import Scale


class AttributionSettings(Value):
    """How local attribution maps are computed; the defaults are those of LAM_Demo."""

    objective: Literal["gradient_magnitude"] = "gradient_magnitude"  # summed over the window
    path: Literal["gaussian_blur"] = "gaussian_blur"  # from sigma to 0
    sigma: float = Field(default=1.2, gt=0.25)  # LR pixels; a smaller sigma would blur nothing
    kernel: PositiveInt = Field(default=9, ge=3)  # LR pixels; odd
    steps: PositiveInt = 50
    quadrature: Literal["right", "midpoint"] = "right"

    @model_validator(mode="after")
    def _kernel_is_odd(self) -> Self:
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel: {self.kernel} is even; it needs a centre")
        return self


class RefinedAttribution(Value):
    """Attribution along a path that was refined until the completeness error was below 1 %."""

    steps: PositiveInt
    quadrature: Literal["midpoint"] = "midpoint"
    diffusion_index: float = Field(ge=0, le=100)
    completeness_error: NonNegativeFloat


class WindowAttribution(Value):
    """The attribution of one window of one picture."""

    picture: str
    lr_sha256: str
    lr_size: tuple[PositiveInt, PositiveInt]  # width, height; after cropping around the window
    window: tuple[NonNegativeInt, NonNegativeInt, PositiveInt]  # x, y, side; HR pixels of the crop
    corner: tuple[NonNegativeInt, NonNegativeInt] = (0, 0)  # x, y of the crop in the LR picture
    diffusion_index: float = Field(ge=0, le=100)
    information_area: float = Field(gt=0, le=1)  # share of LR pixels with 90 % of the density
    completeness_error: NonNegativeFloat  # relative
    # The most steps, of all windows, that went through the network with one of these: it changes
    # low bits. None: newer than the record.
    batch: PositiveInt | None = None
    refined: RefinedAttribution | None
    channels: str  # .npy beside the record: (3, h, w) float32, signed
    overlay: str  # .png beside the record: picture, map, density
    channels_sha256: Sha256 | None = None  # of these files; None: newer than the record
    overlay_sha256: Sha256 | None = None

    @model_validator(mode="after")
    def _maps_lie_beside_the_record(self) -> Self:
        for name in (self.channels, self.overlay):
            if name != PurePosixPath(name).name:
                raise ValueError(f"{name} does not lie beside the record")
        return self


class LeftOut(Value):
    """A picture without a map, or a window whose path could not be refined."""

    picture: str
    reason: str


class AttributionRecord(Record):
    """Local attribution maps of one network, window by window."""

    KIND = "attribution"

    network: str
    scale: Scale
    dataset: str | None  # None if pictures were listed one by one
    window_rule: Literal["given", "busiest"]
    settings: AttributionSettings
    # Of weights and products; TF32 is never used. None: newer than the record.
    precision: Literal["float32", "float64"] | None = None
    weights_sha256: str | None  # None for a user's own network, whose code loads its weights
    windows: tuple[WindowAttribution, ...] = Field(min_length=1)
    left_out: tuple[LeftOut, ...] = ()

    @model_validator(mode="after")
    def _windows_are_there_once(self) -> Self:
        places = [(each.picture, each.corner, each.window) for each in self.windows]
        if len({*places}) < len(places):
            twice = max(places, key=places.count)
            raise ValueError(f"windows: {twice} is there twice")
        return self
