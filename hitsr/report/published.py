"""Numbers quoted from the paper: read from reports/published, each with its source."""

from pathlib import Path
from typing import Annotated, Literal, NamedTuple, TypeVar

from pydantic import BeforeValidator, Field

from hitsr.base.errors import DataError, SpecError
from hitsr.base.reading import read_csv
from hitsr.base.values import Value
from hitsr.specs.network import Scale

V = TypeVar("V", bound=Value)
PrintedScale = Annotated[Scale, BeforeValidator(int)]  # of text

PAPER_DEVICE = "A100"
PAPER_RUNTIME_SCALE: Scale = 2  # of its run times
PAPER_TABLE = "paper Table 2"  # in the source of its rows


class Quote(Value):
    """One printed row: a method at one scale on one test set. None where nothing is printed."""

    method: str
    scale: PrintedScale
    dataset: str
    params_k: float | None
    flops_g: float | None
    runtime_ms: float | None
    psnr_db: float | None = Field(alias="psnr")
    ssim: float | None
    source: str


class Successor(Value):
    """One printed row of a network published beside or after the paper; None where nothing is."""

    scale: PrintedScale
    method: str
    params_k: float
    flops_g: float | None
    latency_ms: float | None  # devices and settings differ between sources
    memory_mb: float | None = Field(alias="mem_mb")
    train_data: str | None
    urban100_psnr: float | None
    urban100_ssim: float | None
    manga109_psnr: float | None
    manga109_ssim: float | None
    source: str

    def score(self, dataset: str, metric: Literal["psnr", "ssim"]) -> float | None:
        """On Urban100 or Manga109."""
        found: float | None = getattr(self, f"{dataset.lower()}_{metric}")
        return found

    def is_trained_on(self, dataset: str) -> bool:
        """Its row says so, perhaps with where that is said: "DIV2K (config)"."""
        return self.train_data is not None and self.train_data.split()[0] == dataset


class Published(NamedTuple):
    """All quoted rows."""

    quotes: tuple[Quote, ...]
    successors: tuple[Successor, ...] = ()


def read_published(folder: Path) -> Published:
    """Read published.csv and successors.csv; DataError names the line that is damaged."""
    return Published(
        quotes=_read(Quote, folder / "published.csv"),
        successors=_read(Successor, folder / "successors.csv"),
    )


def _read(kind: type[V], path: Path) -> tuple[V, ...]:
    rows = enumerate(read_csv(path), 2)
    return tuple(_row(kind, row, f"{path}:{line}") for line, row in rows)


def _row(kind: type[V], row: dict[str, str], where: str) -> V:
    try:
        return kind.parse({name: text or None for name, text in row.items()}, where)
    except SpecError as error:
        raise DataError(f"{error}; every quoted number has a source; restore the file") from None
