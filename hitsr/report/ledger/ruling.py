"""A claim with what decides it: parts, each a number beside the paper's, and their verdicts."""

from dataclasses import dataclass
from typing import NamedTuple

from hitsr.report.typeset import THIN_SPACE, fixed, signed
from hitsr.report.verdicts import Expected, Judgement, Measured, Verdict, combined, judge
from hitsr.specs.claims import AnyClaim


class Style(NamedTuple):
    """How the numbers of a part are written."""

    digits: int
    unit: str = ""
    plus: bool = False  # differences carry their sign

    def write(self, value: float) -> str:
        return self.bare(value) + self.tail

    def span(self, values: list[float]) -> str:
        """ "0.04 to 0.26 dB", or one number where both ends are written alike."""
        low, high = self.bare(min(values)), self.bare(max(values))
        return (low if low == high else f"{low} to {high}") + self.tail

    def bare(self, value: float) -> str:
        return (signed if self.plus else fixed)(value, self.digits)

    @property
    def tail(self) -> str:
        """The unit, set off by a thin space if it is a word or a letter."""
        return f"{THIN_SPACE}{self.unit}" if self.unit not in ("", "×") else self.unit


@dataclass(frozen=True)
class Part:
    """One number that a claim is about: a network at a scale, a test set."""

    name: str
    style: Style
    expected: Expected
    paper: float | None  # None where the paper prints no number
    here: Measured | None
    judgement: Judgement

    @property
    def verdict(self) -> Verdict:
        return self.judgement.verdict


@dataclass(frozen=True)
class Ruling:
    """A claim, its parts, and what else the records say of it."""

    claim: AnyClaim
    parts: tuple[Part, ...]
    noun: str = ""  # what the parts are, where they are counted: "pair"; else their range is shown
    note: str = ""

    @property
    def verdict(self) -> Verdict:
        return combined([part.verdict for part in self.parts])


def measured_part(
    name: str,
    style: Style,
    expected: Expected,
    paper: float | None,
    here: Measured | None,
    hindrance: str = "",
) -> Part:
    """A part that a measurement decides, unless a hindrance forbids to judge it."""
    return Part(name, style, expected, paper, here, judge(expected, here, hindrance))


def quoted_part(name: str, style: Style, expected: Expected, printed: float) -> Part:
    """A part that a printed number decides: nothing is measured."""
    return Part(name, style, expected, printed, None, judge(expected, Measured(printed)))
