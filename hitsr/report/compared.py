"""What a comparison of two results folders, A and B, consists of: cells, each with a verdict."""

from typing import Literal, get_args

from pydantic import NonNegativeFloat

from hitsr.base.values import Value
from hitsr.report.significance import PairedDifference

Kind = Literal["complexity", "latency", "quality", "training"]
Verdict = Literal["same", "differs", "unlike", "only A", "only B"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Tolerances(Value):
    """How far B may be from A: shares of A, but for PSNR and SSIM."""

    counts: NonNegativeFloat  # parameters and FLOPs
    latency: NonNegativeFloat  # of medians, either way
    memory: NonNegativeFloat
    loss: NonNegativeFloat
    psnr_db: NonNegativeFloat
    ssim: NonNegativeFloat


class ComparedCell(Value):
    """One quantity of one subject in A and in B."""

    kind: Kind
    subject: str  # "hit_sir-x4, cpu.fused"
    quantity: str = ""  # "params"; empty where one side lacks the whole subject
    verdict: Verdict  # "unlike": not measured alike
    a: float | None = None  # None where not measured, or infinite
    b: float | None = None
    spread: tuple[float, float] | None = None  # half the interquartile range in A and in B
    words: str  # B against A
    significance: PairedDifference | None = None


class Comparison(Value):
    a: str  # folder
    b: str
    tolerances: Tolerances
    cells: tuple[ComparedCell, ...]

    def failing(self, common: bool = False) -> list[ComparedCell]:
        """Cells that are not the same; with `common`, leaving out those of one side only."""
        passing = {"same", "only A", "only B"} if common else {"same"}
        return [cell for cell in self.cells if cell.verdict not in passing]
