"""What a comparison of two results folders, A and B, consists of: rules and judged cells."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple, get_args

from pydantic import NonNegativeFloat

from hitsr.base.values import Value
from hitsr.report.estimates import PairedDifference

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


class Rule(NamedTuple):
    """How one quantity is compared.

    `way`: "count" and "share" allow a share of A, "difference" an absolute one, "times" a ratio of
    medians or quartiles that overlap, "pictures" a mean difference on the same pictures.
    """

    kind: Kind
    quantity: str  # of facts
    way: Literal["count", "share", "difference", "times", "pictures"]
    tolerance: str | None  # field of Tolerances; None allows nothing
    name: str = ""  # of cells, where it is not the quantity
    unit: float = 1  # cells are in single parameters, FLOPs and bytes, facts in K, G and MB
    alike: Mapping[str, str] = MappingProxyType({})  # path in records of what must be equal


_COUNTED = {"output size": "output_size", "formulation": "formulation"}
_TIMED = {
    "output size": "output_size",
    "memory kind": "memory_kind",
    "device name": "provenance.device_name",
    "threads": "provenance.threads",
}
_TRAINED = {"LR pictures": "degradation"}
_VALIDATED = _TRAINED | {"PSNR of": "validated"}
_PSNR, _SSIM = {"scored as": "signatures.psnr"}, {"scored as": "signatures.ssim"}
RULES = (
    Rule("complexity", "params", "count", "counts", unit=1e3, alike=_COUNTED),
    Rule("complexity", "flops", "count", "counts", unit=1e9, alike=_COUNTED),
    Rule("latency", "latency_ms", "times", "latency", alike=_TIMED),
    Rule("latency", "memory_mb", "share", "memory", "peak_memory_bytes", 1e6, _TIMED),
    Rule("quality", "psnr_db", "pictures", "psnr_db", "psnr", alike=_PSNR),
    Rule("quality", "ssim", "pictures", "ssim", alike=_SSIM),
    Rule("training", "pictures", "count", None),
    Rule("training", "final_loss", "share", "loss", alike=_TRAINED),
    Rule("training", "final_validation_psnr_db", "difference", "psnr_db", alike=_VALIDATED),
)


class ComparedCell(Value):
    """One quantity of one subject in A and in B."""

    kind: Kind
    subject: str  # "hit_sir-x4.cpu.fused"
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
    unusable: tuple[str, ...] = ()  # records of these kinds that cannot be used, as sentences
    strays: tuple[str, ...] = ()  # files that belong to no job, as sentences

    @property
    def problems(self) -> list[str]:
        return [*self.unusable, *self.strays]

    def failing(self, common: bool = False) -> list[ComparedCell]:
        """Cells that are not the same; with `common`, leaving out those of one side only."""
        passing = {"same", "only A", "only B"} if common else {"same"}
        return [cell for cell in self.cells if cell.verdict not in passing]
