"""Section: how PSNR and loss move over training, by steps and by seconds."""

from typing import NamedTuple

from hitsr.report.budget import Budget
from hitsr.report.cells import Cell, Column, Row, Table, here, listing, row
from hitsr.report.curves import loss_panels, psnr_panels
from hitsr.report.measures import Evidence, curve, reached_at, validation_control
from hitsr.report.names import label, method_of
from hitsr.report.section import Caption, Section, TableView
from hitsr.report.sections.provenance import machine_words
from hitsr.report.svg import Panel
from hitsr.report.targets import target_finding, target_table, targets
from hitsr.report.typeset import fixed, listed, sentence, share
from hitsr.specs.config import Train
from hitsr.specs.network import Scale


class Reach(NamedTuple):
    """Where a conversion first has its baseline's final validation PSNR; None if it never has."""

    conversion: str
    step: int | None
    last_step: int


class ScaleCurves(NamedTuple):
    """Both quantities at one scale: panels by steps, then by seconds; empty if not run."""

    scale: Scale
    finding: str
    psnr: list[Panel]
    loss: list[Panel]
    has_bicubic: bool


def convergence_section(evidence: Evidence, budget: Budget, train: Train) -> Section:
    scales = [_curves(evidence, scale) for scale in train.scales]
    machine = machine_words(evidence.results.trainings)
    caption = Caption("The training runs.", f"Trained on {machine}.", budget.steps)
    runs = TableView(training_table(evidence), caption)
    goals = _targets(evidence, budget, train)
    return Section(
        key="convergence",
        nav="Convergence",
        heading=convergence_heading(evidence, scales[0].scale),
        parts={"scales": scales, "runs": runs, "targets": goals},
        tables=[view for view in (goals, runs) if view],
        panels=[panel for curves in scales for panel in curves.psnr + curves.loss],
    )


def reaches(evidence: Evidence, scale: Scale) -> list[Reach]:
    """One for each family; none at all before both curves of every family are there."""
    found = []
    for family in evidence.families:
        baseline, conversion = (
            curve(evidence.results, network, scale, "validation_psnr_db")
            for network in family.networks
        )
        if not baseline or not conversion:
            return []
        position = reached_at(conversion, baseline.mean[-1])
        step = None if position is None else conversion.steps[position]
        found.append(Reach(family.conversion, step, conversion.steps[-1]))
    return found


def convergence_heading(evidence: Evidence, scale: Scale) -> str:
    found = reaches(evidence, scale)
    if not found:
        return "How the networks learn"
    early = sum(reach.step is not None and reach.step < reach.last_step for reach in found)
    if not early:
        return "No conversion reaches its baseline’s final PSNR early"
    verb = "reaches" if early == 1 else "reach"
    return sentence(
        f"{share(early, len(found))} conversions {verb} the baseline’s final PSNR early"
    )


def convergence_finding(evidence: Evidence, scale: Scale) -> str:
    found = reaches(evidence, scale)
    if not found:
        return "Validation PSNR over training."
    never = [label(reach.conversion) for reach in found if reach.step is None]
    reached = [f"{label(r.conversion)} after {fixed(r.step)}" for r in found if r.step is not None]
    last = fixed(found[0].last_step)
    if not reached:
        return f"No conversion reaches its baseline’s final PSNR within {last} steps."
    exceptions = f"; {listed(never)} never" if never else ""
    return f"Steps of {last} to the baseline’s final PSNR: {listed(reached)}{exceptions}."


def training_table(evidence: Evidence) -> Table:
    """What each finished training was and came to."""
    columns = [
        Column("parameters", "K"),
        Column("steps"),
        Column("final L1 loss"),
        Column("validation PSNR", "dB"),
        Column("time", "s"),
        Column("weights, SHA-256", is_text=True),
    ]
    # The config's networks in their order, then variants of ablations.
    order = dict.fromkeys([*evidence.networks, *map(method_of, evidence.results.training)])
    place = {network: position for position, network in enumerate(order)}
    runs = sorted(evidence.results.training, key=lambda run: place[method_of(run)])
    return listing("training", "Run", columns, (_training_row(evidence, run) for run in runs))


def _targets(evidence: Evidence, budget: Budget, train: Train) -> TableView | None:
    """None before both members of a family were trained."""
    found = {scale: targets(evidence, scale) for scale in sorted(train.scales)}
    every = [target for of_scale in found.values() for target in of_scale]
    if not every:
        return None
    conditions = (
        f"On “{evidence.config.data.validation}”, by the mean over seeds, at the validated steps: "
        f"every {fixed(train.recipe.validate_every)}. Seconds are of these trainings, on "
        f"{machine_words(evidence.results.trainings)}."
    )
    caption = Caption(target_finding(every), conditions, budget.steps)
    return TableView(target_table(found), caption)


def _training_row(evidence: Evidence, name: str) -> Row:
    record = evidence.results.training[name].record
    run, network = record.run, record.run.network.name
    cells = [
        here(record.params / 1e3),
        here(run.recipe.steps),
        here(record.final_loss, 4),
        here(record.final_validation_psnr_db, 2),
        here(record.provenance.seconds),
        Cell(text=record.weights_sha256[:12], kind="text"),
    ]
    return row(network, cells, f"{label(network)}, ×{run.scale}, seed {run.seed}")


def _curves(evidence: Evidence, scale: Scale) -> ScaleCurves:
    return ScaleCurves(
        scale,
        convergence_finding(evidence, scale),
        psnr_panels(evidence, scale),
        loss_panels(evidence, scale),
        validation_control(evidence, scale) is not None,
    )
