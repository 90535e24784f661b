"""Section: how PSNR and loss move over training, by steps and by seconds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from hitsr.report.budget import Budget
from hitsr.report.curves import Against, loss_panels, psnr_panels
from hitsr.report.findings import convergence_finding, convergence_heading
from hitsr.report.measures import Evidence, control
from hitsr.report.panels import Panel
from hitsr.report.sections.captions import Caption, FigureView, TableView
from hitsr.report.views import training_table
from hitsr.report.words import machine_words
from hitsr.spec import Scale

Draw = Callable[[Evidence, Scale, Against], list[Panel]]


class ScaleFigures(NamedTuple):
    """Both quantities at one scale: panels by steps, then by seconds."""

    scale: Scale
    psnr: FigureView
    loss: FigureView
    has_bicubic: bool


@dataclass(frozen=True)
class ConvergenceSection:
    key: ClassVar[str] = "convergence"
    nav: ClassVar[str] = "Convergence"
    heading: str
    figures: list[ScaleFigures]  # empty: not run
    runs: TableView

    @property
    def tables(self) -> list[TableView]:
        return [self.runs]

    @property
    def panels(self) -> list[Panel]:
        return [p for figure in self.figures for p in figure.psnr.panels + figure.loss.panels]


def convergence_section(evidence: Evidence, budget: Budget) -> ConvergenceSection:
    figures = [
        figure
        for scale in evidence.config.train.scales
        if (figure := _figures(evidence, budget, scale)).psnr.panels
    ]
    trained = [training.record for training in evidence.results.training.values()]
    machine = machine_words(record.provenance for record in trained)
    runs = Caption("The training runs.", f"Trained on {machine}.", budget.steps_words)
    return ConvergenceSection(
        heading=convergence_heading(evidence, evidence.config.train.scales[0]),
        figures=figures,
        runs=TableView(training_table(evidence), runs),
    )


def _figures(evidence: Evidence, budget: Budget, scale: Scale) -> ScaleFigures:
    validation = evidence.config.data.validation
    seeds = "one seed" if budget.seeds == 1 else f"mean and range over {budget.seeds} seeds"
    size = ", networks reduced in size" if budget.changes else ""
    psnr = Caption(
        convergence_finding(evidence, scale),
        f"Validation PSNR on “{validation}” ×{scale} by steps (above) and by seconds of training "
        f"(below), {seeds}{size}. All panels share one vertical axis; what lies below is cut off.",
        budget.steps_words,
    )
    loss = Caption(
        "Mean absolute error in training.",
        f"Since the last logged step, pixel values in 0 to 1, ×{scale}, {seeds}{size}.",
        budget.steps_words,
    )
    return ScaleFigures(
        scale,
        FigureView(psnr, _both(psnr_panels, evidence, scale)),
        FigureView(loss, _both(loss_panels, evidence, scale)),
        control(evidence.results, scale, validation) is not None,
    )


def _both(draw: Draw, evidence: Evidence, scale: Scale) -> list[Panel]:
    return draw(evidence, scale, "steps") + draw(evidence, scale, "seconds")
