"""How the LR pictures of a set came about, which `hitsr prepare` keeps beside them.

The file `prepared.json` in the folder of the LR pictures has the hashes of each LR picture and of
the HR picture that it belongs to. So a picture that was replaced or edited since is noticed.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from pydantic import Field, PositiveInt, ValidationError

from hitsr.base.errors import DataError
from hitsr.base.files import content_of, write_text
from hitsr.base.reading import MOST_JSON
from hitsr.base.values import Value
from hitsr.data.images import PREPARE_AGAIN
from hitsr.plan.picture_sets import lr_folder
from hitsr.records import BICUBIC_LR, Origin

UNSTATED = "unstated"  # how LR pictures were made that `hitsr prepare` has not seen

Size = tuple[PositiveInt, PositiveInt]  # width, height


class LrOrigin(Value):
    """Hashes and sizes of an LR picture and its HR picture, and how the LR came about."""

    hr_sha256: str
    lr_sha256: str
    hr_size: Size
    lr_size: Size
    origin: Origin


class Origins(Value):
    """The origin of each LR picture in a folder, by file name."""

    files: dict[str, LrOrigin] = Field(default={})


def origins_file(lr: Path) -> Path:
    return lr / "prepared.json"


def read_origins(lr: Path) -> Origins:
    """What is known of a folder of LR pictures; DataError if the file is damaged."""
    path = origins_file(lr)
    try:
        return Origins.model_validate_json(content_of(path, MOST_JSON))
    except FileNotFoundError:
        return Origins()
    except (OSError, ValidationError) as error:
        raise DataError(f"{path}: cannot be read or is damaged; delete it") from error


def check_hr(lr: Path, hr: Path, hr_sha256: str, origins: Origins) -> None:
    """Raise DataError if an HR picture is another than its LR picture was prepared with."""
    known = origins.files.get(lr.name)
    if known and known.hr_sha256 != hr_sha256:
        raise DataError(f"{hr}: was replaced since its LR {lr} was prepared; {PREPARE_AGAIN}")


def write_origins(lr: Path, origins: Origins) -> None:
    """Write the file unless it is there; OSError if the folder is not writable."""
    if origins != read_origins(lr):
        write_text(origins_file(lr), origins.to_json())


def degradation(files: Iterable[tuple[str, Origin]]) -> str:
    """How the LR pictures of a set were made, for signatures, by the hash and origin of each.

    "matlab-bicubic", or "given-1a2b3c4d" if some LR picture is another than `prepare` would make;
    equal files give an equal text.
    """
    known = sorted(files)
    if all(origin != "given" for _, origin in known):
        return BICUBIC_LR
    return f"given-{hashlib.sha256(''.join(each for each, _ in known).encode()).hexdigest()[:8]}"


def degradation_of(folder: Path, scale: int) -> str:
    """As `degradation`, of a set's folder; "unstated" if `prepare` has not seen its LR pictures."""
    try:
        lr = lr_folder(folder, scale)
        files = read_origins(lr).files if lr else {}
    except DataError:  # several folders, or a damaged file: `prepare` tells which
        return UNSTATED
    if not files:
        return UNSTATED
    return degradation((each.lr_sha256, each.origin) for each in files.values())
