"""Section: how PSNR and loss move over training, by steps and by time."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from hitsr.records import TrainingRecord
from hitsr.records.doubts import training_doubts
from hitsr.report.budget import Budget
from hitsr.report.cells import NOT_LOGGED, Cell, Column, Row, Table, here, listing, row
from hitsr.report.courses import course_remarks
from hitsr.report.curves import clock_of, curve_panels, shown_bicubic_db, validation_control_db
from hitsr.report.estimates import mean
from hitsr.report.evidence import Evidence
from hitsr.report.facts import QUANTITIES
from hitsr.report.gates import MetGate, gate_finding, gate_table, gates_at
from hitsr.report.names import label
from hitsr.report.section import Caption, Section, TableView
from hitsr.report.sections.provenance import machine_words
from hitsr.report.svg import Panel
from hitsr.report.targets import (
    Target,
    hours_digits,
    target_finding,
    target_table,
    targets,
    unlike_pairs,
)
from hitsr.report.typeset import between, fixed, listed, sentence, share, signed
from hitsr.specs.config import Train, runs
from hitsr.specs.network import Scale


class ScaleCurves(NamedTuple):
    """Both quantities at one scale: panels by steps, then by time; empty if not run."""

    scale: Scale
    finding: str
    remarks: list[str]  # on what PSNR is of, and what the panels show or leave out
    psnr: list[Panel]
    loss: list[Panel]
    has_bicubic: bool
    gates: list[MetGate]
    clock: str  # what the panels by time are drawn against


def convergence_section(evidence: Evidence, budget: Budget, train: Train) -> Section:
    scales = [
        ScaleCurves(
            scale,
            convergence_finding(evidence, scale),
            lead_remarks(evidence, scale) + psnr_remarks(evidence, scale),
            psnr=curve_panels(evidence, "validation_psnr_db", scale),
            loss=curve_panels(evidence, "loss", scale),
            has_bicubic=shown_bicubic_db(evidence, scale) is not None,
            gates=gates_at(evidence, scale),
            clock=_clock_words(evidence, scale),
        )
        for scale in train.scales
    ]
    trainings = evidence.results.of(TrainingRecord)
    said = "Loss is that since the last logged step, PSNR that of the last validation"
    conditions = " ".join(
        [f"{said}. Trained on {machine_words(trainings)}.", *course_remarks(trainings)]
    )
    caption = Caption("The training runs.", conditions, budget.steps)
    runs = TableView(training_table(evidence), caption)
    goals, gates = _targets(evidence, budget, train), _gates(evidence, scales)
    return Section(
        key="convergence",
        nav="Convergence",
        heading=convergence_heading(evidence, scales[0].scale),
        parts={"scales": scales, "runs": runs, "targets": goals, "gates": gates},
        tables=[view for view in (goals, gates, runs) if view],
        panels=[panel for curves in scales for panel in curves.psnr + curves.loss],
    )


def convergence_heading(evidence: Evidence, scale: Scale) -> str:
    found = _of_all(evidence, scale)
    if not found:
        return "How the networks learn"
    early = sum(target.is_early for target in found)
    if not early:
        return "No conversion reaches its baseline’s final PSNR early"
    verb = "reaches" if early == 1 else "reach"
    return sentence(
        f"{share(early, len(found), 'conversion')} {verb} the baseline’s final PSNR early"
    )


def convergence_finding(evidence: Evidence, scale: Scale) -> str:
    found = _of_all(evidence, scale)
    if not found:
        return "Validation PSNR over training."
    reached, never, last = [], [], fixed(found[0].last_step)
    for target in found:
        name = label(target.family.conversion)
        if target.conversion:
            reached.append(f"{name} after {fixed(target.conversion[0])}")
        else:
            never.append(name)
    if not reached:
        return f"No conversion reaches its baseline’s final PSNR within {last} steps."
    exceptions = f"; {listed(never)} never" if never else ""
    return f"Steps of {last} to the baseline’s final PSNR: {listed(reached)}{exceptions}."


def _clock_words(evidence: Evidence, scale: Scale) -> str:
    curves = (evidence.curve("validation_psnr_db", n, scale) for n in evidence.networks)
    if clock_of(filter(None, curves)) == "seconds":
        return "seconds of training"
    return "device-seconds, which are processor time on CPUs"


def lead_remarks(evidence: Evidence, scale: Scale) -> list[str]:
    """For each pair, the conversion's lead at the end, and at equal device time."""
    words = []
    for family in evidence.families:
        leads = [
            [lead[-1] for lead in evidence.lead(family, scale)],
            evidence.leads_at_equal_time(family, scale),
        ]
        if all(leads):
            ends, times = (_lead_words(each) for each in leads)
            words.append(
                f"{label(family.conversion)} beside {label(family.baseline)}: {ends} dB at the "
                f"last common step, {times} dB at equal device time."
            )
    if words and len(leads[0]) > 1:
        words.append("± is the 95 % interval over seeds.")
    return words


def _lead_words(leads: Sequence[float]) -> str:
    """ "-0.14 ± 0.03": the mean over seeds and its interval."""
    value, half = mean(leads)
    digits = QUANTITIES["validation_psnr_db"].digits
    return signed(value, digits) + ("" if half is None else f"\u00a0±\u00a0{fixed(half, digits)}")


def psnr_remarks(evidence: Evidence, scale: Scale) -> list[str]:
    """On averaged weights, pairs that are not compared, gates, and bicubic where it is left out."""
    curves = {n: evidence.curve("validation_psnr_db", n, scale) for n in evidence.networks}
    of = {name: curve.validated for name, curve in curves.items() if curve}
    averaged = [label(name) for name, weights in of.items() if weights == "averaged weights"]
    words = []
    if averaged:
        which = "" if len(averaged) == len(of) else f" of {listed(averaged)}"
        words.append(f"PSNR{which} is that of averaged weights (EMA).")
    if unlike := unlike_pairs(evidence, scale):
        words.append(
            f"{listed([label(name) for name in unlike])}: not held against the baseline, since "
            "only one of the two is validated with averaged weights."
        )
    if gates := gates_at(evidence, scale):
        words.append(
            "Diamonds are early gates: PSNR that others’ trainings had at that step, with the "
            "tolerance below, and their numbers in the table of gates. "
            + gate_finding({scale: gates})
        )
    control = validation_control_db(evidence, scale)
    if control is not None and shown_bicubic_db(evidence, scale) is None:
        digits = QUANTITIES["psnr_db"].digits
        words.append(f"Bicubic, at {fixed(control, digits)} dB, lies below what is shown.")
    return words


def _of_all(evidence: Evidence, scale: Scale) -> list[Target]:
    """Targets of all families; none before both members of every family were trained."""
    found = targets(evidence, scale)
    return found if len(found) == len(evidence.families) else []


def training_table(evidence: Evidence) -> Table:
    """One row per finished training: its network, length, circumstances and final numbers."""
    columns = [
        Column("parameters", QUANTITIES["trained_params"].unit),
        Column("steps"),
        Column("skipped"),
        Column("loss"),
        Column("PSNR", QUANTITIES["validation_psnr_db"].unit),
        Column("PSNR of", is_text=True),
        Column("time", QUANTITIES["training_seconds"].unit),
        Column("devices", QUANTITIES["device_hours"].unit),
        Column("sessions"),
        Column("SHA-256", is_text=True),
    ]
    # The config's networks in their order, then variants of ablations.
    records = evidence.results.of(TrainingRecord)
    order = list(dict.fromkeys([*evidence.networks, *(r.run.network.name for r in records)]))
    records.sort(key=lambda record: order.index(record.run.network.name))
    hours = [fact.value for fact in evidence.facts.find("device_hours")]
    rows = (_training_row(evidence, record, hours_digits(hours)) for record in records)
    return listing("training", "Run", columns, rows)


def _targets(evidence: Evidence, budget: Budget, train: Train) -> TableView | None:
    """None before both members of a family were trained."""
    found = {scale: targets(evidence, scale) for scale in sorted(train.scales)}
    every = [target for of_scale in found.values() for target in of_scale]
    if not every:
        return None
    conditions = (
        f"On “{evidence.config.data.validation}”, by the mean over seeds, at the validated steps: "
        f"every {_validations(evidence)}. Of the baseline, its whole training; of the "
        "conversion, until it has the baseline’s final PSNR; a ratio above one: it was sooner. "
        "Seconds are those of all sessions; device-hours those of all GPUs, or processor time; on "
        f"{machine_words(evidence.results.of(TrainingRecord))}."
    )
    caption = Caption(target_finding(every), conditions, budget.steps)
    return TableView(target_table(found), caption)


def _validations(evidence: Evidence) -> str:
    """ "1 000", or both ends where recipes differ."""
    every = {run.recipe.validate_every for run in runs(evidence.config).values()}
    return between(tuple(every), 0)


def _gates(evidence: Evidence, scales: Sequence[ScaleCurves]) -> TableView | None:
    """None where no finished training came to a gate."""
    found = {each.scale: each.gates for each in scales}
    if not any(found.values()):
        return None
    conditions = (
        f"On “{evidence.config.data.validation}”. A training below the wanted PSNR by more than "
        "the tolerance is marked here, and wherever its numbers stand."
    )
    return TableView(gate_table(found), Caption(gate_finding(found), conditions))


def _training_row(evidence: Evidence, record: TrainingRecord, digits: int) -> Row:
    run, network = record.run, record.run.network.name
    hours = evidence.facts.value("device_hours", network, subject=run.name)
    doubts = training_doubts(record)
    outcomes = [
        here(record.final_loss, QUANTITIES["loss"].digits),
        here(record.final_validation_psnr_db, QUANTITIES["validation_psnr_db"].digits),
    ]
    if doubts:
        outcomes = [replace(c, mark="doubtful", reason="; ".join(doubts)) for c in outcomes]
    cells = [
        here(evidence.facts.value("trained_params", network, subject=run.name)),
        here(run.recipe.steps),
        here(len(record.skipped)) if record.sessions else NOT_LOGGED,
        *outcomes,
        Cell(text=record.validated),
        here(record.provenance.seconds),
        NOT_LOGGED if hours is None else here(hours, digits),
        here(len(record.sessions)) if record.sessions else NOT_LOGGED,
        Cell(text=record.weights_sha256[:8], kind="text"),
    ]
    return row(network, cells, f"{label(network)}, ×{run.scale}, seed {run.seed}")
