"""Records of sets of pictures, and of the scores of upscaled ones."""

from pydantic import Field, NonNegativeInt, PositiveInt

from hitsr.base.values import Value
from hitsr.records.record import Record
from hitsr.specs.network import Scale


class PictureFile(Value):
    """One LR/HR pair of a prepared set: sizes and hashes of its files."""

    name: str
    lr_size: tuple[PositiveInt, PositiveInt]  # width, height
    hr_size: tuple[PositiveInt, PositiveInt]  # width, height; before cropping to a multiple
    lr_sha256: str
    hr_sha256: str


class DatasetRecord(Record):
    """The pairs of one set at one scale, as prepared by the pipeline."""

    KIND = "dataset"

    scale: Scale
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
