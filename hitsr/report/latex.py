"""Tables in LaTeX: booktabs rules, quoted numbers in italics, everything escaped."""

from hitsr.report.cells import Cell, Column, Group, Mark, Row, Table

_ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
        "%": r"\%", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
        "−": "$-$", "±": r"$\pm$", "×": r"$\times$", "∞": r"$\infty$", "·": r"$\cdot$",
        "\u202f": r"\,", "\u00a0": "~", "–": "--", "’": "'",
    }
)  # fmt: skip

_MARKS: dict[Mark, tuple[str, str]] = {
    "outside": ("$^{*}$", "outside the tolerance"),
    "unjudged": (r"$^{\circ}$", "not judged, other budget"),
}


def escape(text: str) -> str:
    return text.translate(_ESCAPES)


def to_latex(table: Table, caption: str) -> str:
    """A table environment; needs `\\usepackage{booktabs}`."""
    body = [line for group in table.groups for line in _group(group, len(table.columns))]
    columns = "".join("l" if column.is_text else "r" for column in table.columns)
    lines = [
        r"\begin{table}",
        rf"\caption{{{' '.join([escape(caption), *_legend(table)])}}}",
        rf"\begin{{tabular}}{{l{columns}}}",
        r"\toprule",
        *_heads(table),
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _heads(table: Table) -> list[str]:
    heads = [escape(table.first), *map(_head, table.columns)]
    if not any(column.group for column in table.columns):
        return [_line(heads)]
    groups = (_across(width, "c", title) for title, _, width in table.spans)
    return [_line(["", *groups]), _line(heads)]


def _head(column: Column) -> str:
    return escape(f"{column.head} ({column.unit})" if column.unit else column.head)


def _group(group: Group, columns: int) -> list[str]:
    title = [_line([_across(columns + 1, "l", group.title)])] if group.title else []
    return title + [_row(row) for row in group.rows]


def _across(width: int, align: str, text: str) -> str:
    return rf"\multicolumn{{{width}}}{{{align}}}{{{escape(text)}}}"


def _row(row: Row) -> str:
    return _line([escape(row.label), *map(_cell, row.cells)])


def _cell(cell: Cell) -> str:
    text = escape(cell.text) + (rf" {{\scriptsize {escape(cell.spread)}}}" if cell.spread else "")
    match cell.rank:
        case "best":
            text = rf"\textbf{{{text}}}"
        case "second":
            text = rf"\underline{{{text}}}"
    if cell.kind in ("paper", "absent"):
        return rf"\textit{{{text}}}"
    return text + (_MARKS[cell.mark][0] if cell.mark else "")


def _legend(table: Table) -> list[str]:
    """What the marks in this table mean."""
    used = {cell.mark for group in table.groups for row in group.rows for cell in row.cells}
    return [f"{sign}: {meaning}." for mark, (sign, meaning) in _MARKS.items() if mark in used]


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"
