"""Records of sets of pictures, and of the scores of upscaled ones."""

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from hitsr.base.values import Value
from hitsr.records.record import Record
from hitsr.specs.network import Scale

# How an LR picture came about: made by `hitsr prepare`; given, and equal to what it makes; given.
Origin = Literal["made", "equal", "given"]
BICUBIC_LR = "matlab-bicubic"  # how LR pictures were made, if none is "given"


class PictureFile(Value):
    """One LR/HR pair of a prepared set: sizes and hashes of its files."""

    name: str
    lr_size: tuple[PositiveInt, PositiveInt]  # width, height
    hr_size: tuple[PositiveInt, PositiveInt]  # width, height; before cropping to a multiple
    lr_sha256: str
    hr_sha256: str
    lr_origin: Origin = "made"


class DatasetRecord(Record):
    """The pairs of one set at one scale, as prepared by the pipeline."""

    KIND = "dataset"

    scale: Scale
    degradation: str = BICUBIC_LR  # how the LR pictures were made; "given-1a2b3c4d" by their hash
    pictures: tuple[PictureFile, ...] = Field(min_length=1)


class ChannelScore(Value):
    psnr_db: float | None  # None: infinite, because the pictures are identical
    ssim: float


class PictureScore(ChannelScore):
    """Scores of one picture: PSNR and SSIM on luma and RGB, and other metrics."""

    name: str
    rgb: ChannelScore | None = None
    grey: ChannelScore | None = None  # of a grey HR picture, scored on its unconverted samples
    others: dict[str, float] = Field(default={})  # metric of pyiqa -> value


class QualityRecord(Record):
    """Scores of each picture of a set."""

    KIND = "quality"

    method: str  # the network's name, or "bicubic"
    dataset: str
    scale: Scale
    border: NonNegativeInt
    signatures: dict[str, str]  # metric -> how it was computed
    unavailable: dict[str, str] = Field(default={})  # metric -> why it is missing
    pictures: tuple[PictureScore, ...] = Field(min_length=1)
