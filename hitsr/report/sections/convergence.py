"""Section: how PSNR and loss move over training, by steps and by seconds."""

from typing import NamedTuple

from hitsr.records import TrainingRecord
from hitsr.report.budget import Budget
from hitsr.report.cells import Cell, Column, Row, Table, here, listing, row
from hitsr.report.curves import curve_panels, validation_control_db
from hitsr.report.evidence import Evidence
from hitsr.report.facts import QUANTITIES
from hitsr.report.names import label
from hitsr.report.section import Caption, Section, TableView
from hitsr.report.sections.provenance import machine_words
from hitsr.report.svg import Panel
from hitsr.report.targets import Target, target_finding, target_table, targets
from hitsr.report.typeset import between, fixed, listed, sentence, share
from hitsr.specs.config import Train, runs
from hitsr.specs.network import Scale


class ScaleCurves(NamedTuple):
    """Both quantities at one scale: panels by steps, then by seconds; empty if not run."""

    scale: Scale
    finding: str
    psnr: list[Panel]
    loss: list[Panel]
    has_bicubic: bool


def convergence_section(evidence: Evidence, budget: Budget, train: Train) -> Section:
    scales = [
        ScaleCurves(
            scale,
            convergence_finding(evidence, scale),
            psnr=curve_panels(evidence, "validation_psnr_db", scale),
            loss=curve_panels(evidence, "loss", scale),
            has_bicubic=validation_control_db(evidence, scale) is not None,
        )
        for scale in train.scales
    ]
    machine = machine_words(evidence.results.of(TrainingRecord))
    caption = Caption("The training runs.", f"Trained on {machine}.", budget.steps)
    trainings = TableView(training_table(evidence), caption)
    goals = _targets(evidence, budget, train)
    return Section(
        key="convergence",
        nav="Convergence",
        heading=convergence_heading(evidence, scales[0].scale),
        parts={"scales": scales, "runs": trainings, "targets": goals},
        tables=[view for view in (goals, trainings) if view],
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


def _of_all(evidence: Evidence, scale: Scale) -> list[Target]:
    """Targets of all families; none before both members of every family were trained."""
    found = targets(evidence, scale)
    return found if len(found) == len(evidence.families) else []


def training_table(evidence: Evidence) -> Table:
    """One row per finished training: its network, length and final numbers."""
    columns = [
        Column("parameters", QUANTITIES["trained_params"].unit),
        Column("steps"),
        Column("final L1 loss"),
        Column("validation PSNR", QUANTITIES["validation_psnr_db"].unit),
        Column("time", QUANTITIES["training_seconds"].unit),
        Column("weights, SHA-256", is_text=True),
    ]
    # The config's networks in their order, then variants of ablations.
    records = evidence.results.of(TrainingRecord)
    order = list(dict.fromkeys([*evidence.networks, *(r.run.network.name for r in records)]))
    records.sort(key=lambda record: order.index(record.run.network.name))
    rows = (_training_row(evidence, record) for record in records)
    return listing("training", "Run", columns, rows)


def _targets(evidence: Evidence, budget: Budget, train: Train) -> TableView | None:
    """None before both members of a family were trained."""
    found = {scale: targets(evidence, scale) for scale in sorted(train.scales)}
    every = [target for of_scale in found.values() for target in of_scale]
    if not every:
        return None
    conditions = (
        f"On “{evidence.config.data.validation}”, by the mean over seeds, at the validated steps: "
        f"every {_validations(evidence)}. Seconds are of these trainings, on "
        f"{machine_words(evidence.results.of(TrainingRecord))}."
    )
    caption = Caption(target_finding(every), conditions, budget.steps)
    return TableView(target_table(found), caption)


def _validations(evidence: Evidence) -> str:
    """ "1 000", or both ends where recipes differ."""
    every = {run.recipe.validate_every for run in runs(evidence.config).values()}
    return between(tuple(every), 0)


def _training_row(evidence: Evidence, record: TrainingRecord) -> Row:
    run, network = record.run, record.run.network.name
    cells = [
        here(evidence.facts.value("trained_params", network, subject=run.name)),
        here(run.recipe.steps),
        here(record.final_loss, QUANTITIES["loss"].digits),
        here(record.final_validation_psnr_db, QUANTITIES["validation_psnr_db"].digits),
        here(record.provenance.seconds),
        Cell(text=record.weights_sha256[:12], kind="text"),
    ]
    return row(network, cells, f"{label(network)}, ×{run.scale}, seed {run.seed}")
