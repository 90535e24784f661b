"""Records of sets of pictures, and of the scores of upscaled ones."""

from collections import Counter
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt, model_validator

from hitsr.base.errors import cut
from hitsr.base.values import Value
from hitsr.records.record import Decibels, Record, Sha256
from hitsr.specs.network import Scale

# How an LR picture came about: made by `hitsr prepare`; given, and equal to what it makes; given.
Origin = Literal["made", "equal", "given"]
BICUBIC_LR = "matlab-bicubic"  # how LR pictures were made, if none is "given"


def _named_once(pictures: tuple[Any, ...]) -> tuple[Any, ...]:
    (name, count), *_ = Counter(picture.name for picture in pictures).most_common(1)
    if count > 1:
        raise ValueError(f"{cut(name)} is there {count} times")
    return pictures


NAMED_ONCE = AfterValidator(_named_once)


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
    pictures: Annotated[tuple[PictureFile, ...], Field(min_length=1), NAMED_ONCE]


class RestoredRecord(Record):
    """Whose the upscaled pictures are that lie beside this record, in a folder of the pipeline."""

    KIND = "restored"

    dataset: str
    scale: Scale
    weights_sha256: Sha256 | None  # None: of a control, or of a user's own network
    pictures: dict[str, Sha256]  # name -> of the file


class ChannelScore(Value):
    """PSNR and SSIM of one picture, as far as 8-bit pictures can have them."""

    psnr_db: Decibels | None  # None: infinite, because the pictures are identical
    ssim: float = Field(ge=-1, le=1 + 1e-9)  # rounding may add to 1

    @model_validator(mode="after")
    def _identical_pictures_are_alike(self) -> Self:
        if self.psnr_db is None and self.ssim < 1 - 1e-6:
            raise ValueError(f"psnr_db is infinite, but ssim is {self.ssim}, not 1")
        return self


class PictureScore(ChannelScore):
    """Scores of one picture: PSNR and SSIM on luma and RGB, and other metrics."""

    name: str
    rgb: ChannelScore | None = None
    grey: ChannelScore | None = None  # of a grey HR picture, scored on its unconverted samples
    one_channel: tuple[Literal["sr", "hr"], ...] = ()  # grey: scored as three equal channels
    others: dict[str, float] = Field(default={})  # metric of pyiqa -> value
    unavailable: dict[str, str] = Field(default={})  # metric that failed for this picture -> why
    sr_sha256: Sha256 | None = None  # of the files; None: newer than the record
    hr_sha256: Sha256 | None = None


class QualityRecord(Record):
    """Scores of each picture of a set."""

    KIND = "quality"

    method: str  # the network's name, or "bicubic"
    dataset: str
    scale: Scale
    border: NonNegativeInt
    signatures: dict[str, str]  # metric -> how it was computed
    unavailable: dict[str, str] = Field(default={})  # metric that could not be loaded -> why
    pictures: Annotated[tuple[PictureScore, ...], Field(min_length=1), NAMED_ONCE]
