"""Section: one test picture, the same window from every network."""

from dataclasses import dataclass
from typing import ClassVar

from hitsr.report.budget import Budget
from hitsr.report.measures import Evidence
from hitsr.report.names import BICUBIC, FAMILIES, label
from hitsr.report.panels import Panel
from hitsr.report.pictures import Cutout, PictureRow, picture_row
from hitsr.report.sections.captions import Caption, TableView
from hitsr.report.typeset import fixed, size


@dataclass(frozen=True)
class PicturesSection:
    key: ClassVar[str] = "pictures"
    nav: ClassVar[str] = "Pictures"
    heading: ClassVar[str] = "The same window from every network"
    tables: ClassVar[list[TableView]] = []
    panels: ClassVar[list[Panel]] = []
    row: PictureRow | None  # None: not run
    caption: Caption | None

    @property
    def sides(self) -> tuple[str, str]:
        """What the slider shows first: bicubic and the last conversion, where they are there."""
        shown = [cutout.method for cutout in self.row.cutouts if cutout.uri] if self.row else []
        conversions = [family.conversion for family in FAMILIES if family.conversion in shown]
        return BICUBIC if BICUBIC in shown else shown[0], [*shown, *conversions][-1]

    def describe(self, cutout: Cutout) -> str:
        """Alternative text."""
        assert self.row is not None
        score = "" if cutout.psnr_db is None else f", {self.score(cutout)} dB"
        return f"{label(cutout.method)}, crop of {self.row.choice.picture}{score}"

    def score(self, cutout: Cutout) -> str:
        if cutout.method == "hr":
            return "reference"
        return "" if cutout.psnr_db is None else fixed(cutout.psnr_db, 2)


def pictures_section(evidence: Evidence, budget: Budget) -> PicturesSection:
    row = picture_row(evidence)
    if row is None:
        return PicturesSection(None, None)
    return PicturesSection(row, _caption(row, evidence.set_name(row.choice.dataset), budget))


def _caption(row: PictureRow, where: str, budget: Budget) -> Caption:
    choice, region = row.choice, row.region
    cut = ""
    if (region.width, region.height) != row.whole:
        shown = f"{size(region.width, region.height)} of {size(*row.whole)} pixels"
        cut = f" Shown is a region of {shown}."
    return Caption(
        f"“{choice.picture}”, ×{choice.scale}.",
        f"Chosen by rule: of {where}, the picture where bicubic scores worst, opened at the window "
        "with most gradient energy. Pixels are shown unsmoothed; the number is PSNR in dB of the "
        f"whole picture, first seed.{cut}",
        budget.steps_words,
    )
