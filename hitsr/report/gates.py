"""Early gates: PSNRs that somebody's trainings had on the way, and what those here had there."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hitsr.records import GateResult, TrainingRecord
from hitsr.report.cells import Cell, Column, Group, Row, Span, Table, here, paper, row
from hitsr.report.evidence import Evidence
from hitsr.report.facts import QUANTITIES
from hitsr.report.names import label
from hitsr.report.typeset import counted, fixed, listed, sentence, signed
from hitsr.specs.network import Scale
from hitsr.specs.recipe import Gate

_DIGITS = QUANTITIES["validation_psnr_db"].digits


class MetGate(NamedTuple):
    """A gate, and what each training of its network reached there."""

    number: int  # among those of its scale, the same in figure and table
    network: str  # that was trained
    gate: Gate
    by_seed: tuple[tuple[int, GateResult], ...]

    @property
    def missed(self) -> list[int]:
        """Seeds that were below it."""
        return [seed for seed, result in self.by_seed if not result.is_passed]

    @property
    def lowest_db(self) -> float:
        """The least PSNR that passes."""
        return self.gate.psnr_db - self.gate.tolerance_db

    @property
    def words(self) -> str:
        """ "gate 1, HiT-SRF at step 50 000: missed, 38.00 of 38.11 dB"."""
        outcome = "missed" if self.missed else "passed"
        least = min(result.reached_db for _, result in self.by_seed)
        place = f"gate {self.number}, {label(self.network)} at step {fixed(self.gate.step)}"
        return f"{place}: {outcome}, {fixed(least, _DIGITS)} of {fixed(self.gate.psnr_db, _DIGITS)}"


def gates_at(evidence: Evidence, scale: Scale) -> list[MetGate]:
    """Gates that finished trainings of a scale met, by network and step."""
    found: dict[tuple[str, Gate], list[tuple[int, GateResult]]] = {}
    for record in evidence.results.of(TrainingRecord):
        if record.run.scale == scale:
            for result in record.gates:
                met = found.setdefault((record.run.network.name, result.gate), [])
                met.append((record.run.seed, result))
    order = list(dict.fromkeys([*evidence.networks, *(network for network, _ in found)]))
    places = sorted(found, key=lambda place: (order.index(place[0]), place[1].step))
    return [
        MetGate(number, network, gate, tuple(found[network, gate]))
        for number, (network, gate) in enumerate(places, 1)
    ]


def gate_finding(by_scale: Mapping[Scale, Sequence[MetGate]]) -> str:
    every = [(scale, met) for scale, found in by_scale.items() for met in found]
    missed = [_missed(scale, met) for scale, met in every if met.missed]
    if missed:
        return sentence(f"{listed(missed)}.")
    return "Every early gate was passed." if len(every) > 1 else "The early gate was passed."


def _missed(scale: Scale, met: MetGate) -> str:
    """ "HiT-SRF ×2 was below gate 1 at step 50 000, with one of 3 seeds"."""
    seeds = f", with {len(met.missed)} of {counted(len(met.by_seed), 'seed')}"
    place = f"{label(met.network)} ×{scale} was below gate {met.number} at step"
    return f"{place} {fixed(met.gate.step)}{seeds if len(met.by_seed) > 1 else ''}"


def gate_table(by_scale: Mapping[Scale, Sequence[MetGate]]) -> Table:
    """A group per scale, a row per gate and seed; what was missed is marked."""
    psnr = (Column("wanted"), Column("tolerance"), Column("here"), Column("to wanted", room="mark"))
    spans = (
        Span((Column("step"),), "At"),
        Span(psnr, "Validation PSNR", "dB"),
        Span((Column("source", is_text=True),), "Wanted by"),
    )
    groups = tuple(
        Group(f"×{scale}", tuple(_row(met, *each) for met in found for each in met.by_seed))
        for scale, found in by_scale.items()
        if found
    )
    return Table("gates", "Gate", spans, groups)


def _row(met: MetGate, seed: int, result: GateResult) -> Row:
    gate = met.gate
    # One digit more where the usual ones would hide why it is marked.
    digits = _DIGITS if result.is_passed else _digits(result)
    difference = result.reached_db - gate.psnr_db
    cells = [
        here(gate.step),
        paper(gate.psnr_db, _DIGITS),
        Cell(text=fixed(gate.tolerance_db, _DIGITS), value=gate.tolerance_db),
        here(result.reached_db, digits),
        Cell(
            text=signed(difference, digits),
            value=difference,
            kind="difference",
            mark=None if result.is_passed else "outside",
        ),
        Cell(text=gate.source, kind="paper"),
    ]
    return row(met.network, cells, f"{met.number}: {label(met.network)}, seed {seed}")


def _digits(result: GateResult) -> int:
    short = result.gate.psnr_db - result.reached_db
    return _DIGITS + (round(short, _DIGITS) <= round(result.gate.tolerance_db, _DIGITS))
