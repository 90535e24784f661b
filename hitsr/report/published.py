"""Numbers quoted from the paper: read from reports/published, each with its source."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import Field

from hitsr.base.errors import DataError, SpecError
from hitsr.base.values import Value
from hitsr.report.names import short_label
from hitsr.specs.claims import Metric
from hitsr.specs.network import Scale

V = TypeVar("V", bound=Value)

# What the paper trained with (FACTS of its options files): the budget a number must have had to be
# judged against the paper's.
PAPER_STEPS = 500_000
PAPER_BATCH = 64
PAPER_TRAINING_SET = "DIV2K"
PAPER_TRAINING_PICTURES = 800
PAPER_DEVICE = "A100"
PAPER_RUNTIME_SCALE: Scale = 2

_TABLE = "paper Table 2"  # in the source of its rows

# Tolerances for counts, fixed before any run: 1 K parameters, 0.1 G FLOPs.
PARAMS_TOLERANCE_K = 1
FLOPS_TOLERANCE_G = 0.1
# And for PSNR after a full training by the paper's protocol.
PSNR_TOLERANCE_DB = {"Set5": 0.05, "Set14": 0.05, "B100": 0.05, "Urban100": 0.1, "Manga109": 0.1}
# For weights as their authors released them: what is left is the last digit printed.
RELEASED_PSNR_TOLERANCE_DB = 0.005
RELEASED_SSIM_TOLERANCE = 0.0001


class Quote(Value):
    """One printed row: a method at one scale on one test set. None where nothing is printed."""

    method: str
    scale: int
    dataset: str
    params_k: float | None
    flops_g: float | None
    runtime_ms: float | None
    psnr_db: float | None = Field(alias="psnr")
    ssim: float | None
    source: str


class Successor(Value):
    """One printed row of a network published beside or after the paper; None where nothing is."""

    scale: int
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

    def score(self, dataset: str, metric: Metric) -> float | None:
        """On Urban100 or Manga109."""
        found: float | None = getattr(self, f"{dataset.lower()}_{metric}")
        return found

    def is_trained_on(self, dataset: str) -> bool:
        """Its row says so, perhaps with where that is said: "DIV2K (config)"."""
        return self.train_data is not None and self.train_data.split()[0] == dataset


@dataclass(frozen=True)
class Published:
    quotes: tuple[Quote, ...]
    successors: tuple[Successor, ...] = ()

    def cost(self, network: str, scale: Scale) -> Quote | None:
        """Parameters, FLOPs and run time of a network: the same on every test set's row."""
        return next(iter(self._rows(network, scale)), None)

    def quality(self, network: str, scale: Scale, dataset: str) -> Quote | None:
        return self.quoted(short_label(network), scale, dataset)

    def quoted(self, method: str, scale: Scale, dataset: str) -> Quote | None:
        """A row by the method's name as it is printed."""
        place = (method, scale, dataset)
        return next((q for q in self.quotes if (q.method, q.scale, q.dataset) == place), None)

    def methods(self, scale: Scale) -> list[str]:
        """Those of the paper's table at a scale, in its order; without the model of its README."""
        rows = (q for q in self.quotes if q.scale == scale and _TABLE in q.source)
        return list(dict.fromkeys(quote.method for quote in rows))

    def runtime_ms(self, network: str) -> float | None:
        """On the paper's GPU, at the one scale it was printed for."""
        quote = self.cost(network, PAPER_RUNTIME_SCALE)
        return quote.runtime_ms if quote else None

    def has_dataset(self, dataset: str) -> bool:
        return any(quote.dataset == dataset for quote in self.quotes)

    def sources(self, networks: tuple[str, ...]) -> list[str]:
        """The distinct sources of what can be quoted about `networks`."""
        names = {short_label(network) for network in networks}
        return list(dict.fromkeys(q.source for q in self.quotes if q.method in names))

    def _rows(self, network: str, scale: Scale) -> list[Quote]:
        name = short_label(network)
        return [q for q in self.quotes if q.method == name and q.scale == scale]


def read_published(folder: Path) -> Published:
    """Read published.csv and successors.csv; DataError names the line that is damaged."""
    return Published(
        quotes=_read(Quote, folder / "published.csv"),
        successors=_read(Successor, folder / "successors.csv"),
    )


def _read(kind: type[V], path: Path) -> tuple[V, ...]:
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; restore it from the repository") from None
    return tuple(_row(kind, row, f"{path}:{line}") for line, row in enumerate(rows, 2))


def _row(kind: type[V], row: dict[str, str], where: str) -> V:
    try:
        return kind.parse({name: text or None for name, text in row.items()}, where)
    except SpecError as error:
        raise DataError(f"{error}; every quoted number has a source; restore the file") from None
