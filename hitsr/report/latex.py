"""Tables in LaTeX: booktabs rules, quoted numbers in italics, everything escaped."""

from collections.abc import Iterable

from hitsr.report.cells import Cell, Group, Mark, Table

_ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
        "%": r"\%", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
        "−": "$-$", "±": r"$\pm$", "×": r"$\times$", "∞": r"$\infty$", "·": r"$\cdot$",
        "\u202f": r"\,", "\u00a0": "~", "–": "--", "’": "'", "\n": " ",
    }
)  # fmt: skip

_MARKS: dict[Mark, tuple[str, str]] = {
    "outside": ("$^{*}$", "outside the tolerance"),
    "unjudged": (r"$^{\circ}$", "not judged"),
    "doubtful": ("$^{?}$", "doubtful"),
}


def escape(text: str) -> str:
    return text.translate(_ESCAPES)


def to_latex(table: Table, caption: str) -> str:
    """A table environment; needs `\\usepackage{booktabs}`."""
    marks = table.marks
    meanings = {mark: meaning for mark, (_, meaning) in _MARKS.items()}
    if table.reasons:
        meanings["unjudged"] += f": {escape('; '.join(table.reasons))}"
    if table.doubts:
        meanings["doubtful"] += f": {escape('; '.join(table.doubts))}"
    legend = [f"{_MARKS[mark][0]}: {meanings[mark]}." for mark in _MARKS if mark in marks]
    columns = "".join("l" if column.is_text else "r" for _, column in table.columns)
    lines = [
        r"\begin{table}",
        rf"\caption{{{' '.join([escape(caption), *legend])}}}",
        rf"\begin{{tabular}}{{l{columns}}}",
        r"\toprule",
        *_heads(table),
        r"\midrule",
        *(line for group in table.groups for line in _group(group, len(columns))),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _heads(table: Table) -> list[str]:
    units = [column.unit or span.unit for span, column in table.columns]
    heads = [column.head for _, column in table.columns]
    named = [f"{head} ({unit})" if unit else head for head, unit in zip(heads, units)]
    lines = [_line(map(escape, [table.first, *named]))]
    if any(span.title for span in table.spans):
        spans = (_across(len(span.columns), "c", span.title) for span in table.spans)
        lines.insert(0, _line(["", *spans]))
    return lines


def _group(group: Group, columns: int) -> list[str]:
    title = [_line([_across(columns + 1, "l", group.title)])] if group.title else []
    return title + [_line([escape(row.label), *map(_cell, row.cells)]) for row in group.rows]


def _across(width: int, align: str, text: str) -> str:
    return rf"\multicolumn{{{width}}}{{{align}}}{{{escape(text)}}}"


def _cell(cell: Cell) -> str:
    text = escape(cell.text) + (rf" {{\scriptsize {escape(cell.spread)}}}" if cell.spread else "")
    if cell.rank:
        text = rf"\{'textbf' if cell.rank == 'best' else 'underline'}{{{text}}}"
    if cell.kind in ("paper", "absent"):
        return rf"\textit{{{text}}}"
    return text + (_MARKS[cell.mark][0] if cell.mark else "")


def _line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"
