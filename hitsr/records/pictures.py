"""Records of sets of pictures, and of the scores of upscaled ones."""

from pydantic import Field, NonNegativeInt, PositiveInt

from hitsr.base.values import Value
from hitsr.records.record import Record
from hitsr.specs.network import Scale


class PictureFile(Value):
    """One pair of a prepared set: which files, of what size."""

    name: str
    lr_size: tuple[PositiveInt, PositiveInt]  # width, height
    hr_size: tuple[PositiveInt, PositiveInt]  # width, height; before cropping to a multiple
    lr_sha256: str
    hr_sha256: str


class DatasetRecord(Record):
    """The pairs of one set at one scale, as they were found when the pipeline ran."""

    KIND = "dataset"

    scale: Scale
    pictures: tuple[PictureFile, ...] = Field(min_length=1)


class ChannelScore(Value):
    psnr_db: float | None  # None where the pictures are identical (infinite)
    ssim: float


class PictureScore(ChannelScore):
    """One picture's scores: PSNR and SSIM on luma, and what else was asked for."""

    name: str
    rgb: ChannelScore | None = None
    grey: ChannelScore | None = None  # of a grey HR picture, scored on its samples as they are
    others: dict[str, float] = Field(default={})  # metric of pyiqa -> value


class QualityRecord(Record):
    """Scores of finished pictures, one by one."""

    KIND = "quality"

    method: str  # the network's name, or "bicubic"
    dataset: str
    scale: Scale
    border: NonNegativeInt
    signatures: dict[str, str]  # metric -> how it was taken
    unavailable: dict[str, str] = Field(default={})  # metric -> why not
    pictures: tuple[PictureScore, ...] = Field(min_length=1)
