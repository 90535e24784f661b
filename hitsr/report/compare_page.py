"""Show a comparison of two results folders: as text for a terminal, as one self-contained page."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hitsr.report.comparison import KINDS, ComparedCell, Comparison, Verdict
from hitsr.report.templating import fill
from hitsr.report.typeset import THIN_SPACE, counted, fixed, listed, sentence

CellRow = tuple[str, str, str, str, str, str]  # subject, quantity, A, B, verdict, words


class _Style(NamedTuple):
    name: str
    unit: str = ""
    digits: int = 0
    divisor: float = 1


_STYLES = {
    "": _Style("all of it"),
    "params": _Style("parameters"),
    "flops": _Style("FLOPs", "G", 3, 1e9),
    "latency_ms": _Style("median latency", "ms", 1),
    "peak_memory_bytes": _Style("peak memory", "MB", 1, 1e6),
    "psnr": _Style("PSNR", "dB", 3),
    "ssim": _Style("SSIM", "", 5),
    "run": _Style("definition"),
    "pictures": _Style("training pictures"),
    "final_loss": _Style("final loss", "", 6),
    "final_validation_psnr_db": _Style("validation PSNR", "dB", 3),
}
_ORDER = ("differs", "unlike", "only A", "only B", "same")


class KindView(NamedTuple):
    """The cells of one kind, as rows."""

    kind: str
    summary: str  # "3 of 12 cells differ"
    apart: list[CellRow]
    same: list[CellRow]


def kind_views(comparison: Comparison) -> list[KindView]:
    """Kinds of which there are cells, what is worst first."""
    found = []
    for kind in KINDS:
        cells = [cell for cell in comparison.cells if cell.kind == kind]
        cells.sort(key=lambda cell: _ORDER.index(cell.verdict))
        apart = [_row(cell) for cell in cells if cell.verdict != "same"]
        same = [_row(cell) for cell in cells if cell.verdict == "same"]
        if cells:
            found.append(KindView(kind, summary(cells), apart, same))
    return found


def summary(cells: Sequence[ComparedCell]) -> str:
    """ "3 of 12 cells differ, 1 is in A alone"; "all 12 cells are the same"."""
    said: dict[Verdict, tuple[str, str]] = {
        "differs": ("differs", "differ"),
        "unlike": ("was not measured alike", "were not measured alike"),
        "only A": ("is in A alone", "are in A alone"),
        "only B": ("is in B alone", "are in B alone"),
    }
    counts = Counter(cell.verdict for cell in cells)
    if counts["same"] == len(cells):
        return f"all {counted(len(cells), 'cell')} are the same"
    words = [
        f"{count} {one if count == 1 else many}"
        for verdict, (one, many) in said.items()
        if (count := counts[verdict])
    ]
    return f"of {counted(len(cells), 'cell')}, {listed(words)}"


def tolerances_words(comparison: Comparison) -> str:
    """ "parameters and FLOPs 0 %, latency 10 %, …"."""
    allowed = comparison.tolerances
    shares = {
        "parameters and FLOPs": allowed.counts,
        "latency": allowed.latency,
        "memory": allowed.memory,
        "loss": allowed.loss,
    }
    words = [f"{name} {100 * share:g}{THIN_SPACE}%" for name, share in shares.items()]
    return ", ".join([*words, f"PSNR {allowed.psnr_db:g}{THIN_SPACE}dB", f"SSIM {allowed.ssim:g}"])


def to_text(comparison: Comparison, show_same: bool = False) -> str:
    lines = [
        f"A  {comparison.a}",
        f"B  {comparison.b}",
        f"tolerance: {tolerances_words(comparison)}",
    ]
    for view in kind_views(comparison):
        lines += ["", f"{view.kind}: {view.summary}"]
        lines += _aligned(view.apart + (view.same if show_same else []))
    return "\n".join([*lines, "", sentence(f"{summary(comparison.cells)}.")])


def to_html(comparison: Comparison, templates: Path) -> str:
    """One page in the report's style; DataError where a template cannot be read."""
    values = {
        "comparison": comparison,
        "summary": sentence(f"{summary(comparison.cells)}."),
        "tolerances": tolerances_words(comparison),
        "kinds": kind_views(comparison),
        "problems": comparison.problems,
    }
    return fill(templates, "compare.html", values)


def _row(cell: ComparedCell) -> CellRow:
    style = _STYLES[cell.quantity]
    spread = cell.spread or (None, None)
    a, b = (_value(style, *each) for each in zip((cell.a, cell.b), spread))
    return cell.subject, style.name, a, b, cell.verdict, cell.words


def _value(style: _Style, value: float | None, half: float | None) -> str:
    if value is None:
        return ""
    spread = "" if half is None else f" ± {fixed(half / style.divisor, style.digits)}"
    unit = f"{THIN_SPACE}{style.unit}" if style.unit else ""
    return fixed(value / style.divisor, style.digits) + spread + unit


def _aligned(rows: list[CellRow]) -> list[str]:
    """Verdict, subject, quantity, A, B and words, in columns."""
    shown = [(row[4], *row[:4], row[5]) for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown)]
    return [
        "  " + "  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip()
        for row in shown
    ]
