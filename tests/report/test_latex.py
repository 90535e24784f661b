import re

import pytest

from hitsr.report.budget import budget_of
from hitsr.report.latex import escape, to_latex
from hitsr.report.sections import sections


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("hit_sir & 50 %", r"hit\_sir \& 50 \%"),
        ("{a}\\b", r"\{a\}\textbackslash{}b"),
        ("−0.2 ±0.1", r"$-$0.2 $\pm$0.1"),
        ("1\u202f181", r"1\,181"),
    ],
)
def test_escape(text, latex):
    assert escape(text) == latex


@pytest.fixture(scope="module")
def tables(measured):
    evidence = measured.evidence()
    shown = sections(evidence, budget_of(evidence))
    return [(view.table, to_latex(view.table, "A caption.")) for s in shown for view in s.tables]


def test_every_row_has_every_column(tables):
    for table, text in tables:
        rows = [line for line in text.splitlines() if line.endswith(r"\\") and "multi" not in line]
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(table.columns)}


def test_braces_and_environments_close(tables):
    for _, text in tables:
        assert len(re.findall(r"(?<!\\)\{", text)) == len(re.findall(r"(?<!\\)\}", text))
        assert text.count(r"\begin{") == text.count(r"\end{") == 2
        assert [text.count(rf"\{rule}") for rule in ("toprule", "midrule", "bottomrule")] == [1] * 3


def test_only_characters_that_plain_latex_knows(tables):
    for _, text in tables:
        assert not set(text) - set(map(chr, range(32, 127))) - set("\n“”")


def test_marks_are_explained_in_the_caption(tables):
    (text,) = (text for table, text in tables if table.name == "quality")
    assert "not judged: 100 of 500" in text
    assert "other budget" not in text
    assert r"$^{\circ}$ \\" in text
