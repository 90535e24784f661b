"""All that is known, as one table: a row for each quantity of each record and of each printed row.

Numbers are converted to the units of `QUANTITIES` here and nowhere else. Every table, figure,
claim and sentence of the page is a selection of these rows.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple, cast

import pandas as pd

from hitsr.plan.jobs import GrowthJob, Job, TimeGrowthJob, TimeJob, TrainJob, device_kind
from hitsr.plan.layout import Kind
from hitsr.plan.subjects import Subject, TrainedNetwork
from hitsr.records import (
    BICUBIC_LR,
    AttributionRecord,
    ComplexityRecord,
    DatasetRecord,
    LatencyRecord,
    LogLine,
    PowerLaw,
    QualityRecord,
    ScalingRecord,
    ScalingTimeRecord,
    TrainingRecord,
    WindowAttribution,
)
from hitsr.records.doubts import count_doubts, time_doubts, training_doubts
from hitsr.report.comparable import hindrance, recipe_hindrance, size_hindrance
from hitsr.report.gather import Result, Results
from hitsr.report.names import USUAL, Load, Setup, printed_name
from hitsr.report.published import PAPER_RUNTIME_SCALE, Published, Quote, Successor
from hitsr.report.typeset import THIN_SPACE, fixed, signed
from hitsr.specs.config import Over
from hitsr.specs.network import Scale
from hitsr.specs.run import RunSpec

Speaker = Literal["here", "paper", "successors"]
HERE: Speaker = "here"
PAPER: Speaker = "paper"
SUCCESSORS: Speaker = "successors"


class Quantity(NamedTuple):
    """How a quantity is called and written."""

    title: str
    unit: str
    digits: int
    kind: Kind  # of the jobs that measure it

    def write(self, value: float, plus: bool = False) -> str:
        """ "−0.04 dB": with its unit."""
        number = signed(value, self.digits) if plus else fixed(value, self.digits)
        return f"{number}{THIN_SPACE}{self.unit}" if self.unit else number


QUANTITIES = {
    "params": Quantity("Parameters", "K", 0, "complexity"),
    "flops": Quantity("FLOPs", "G", 1, "complexity"),
    "activations": Quantity("Activations", "M elements", 0, "scaling"),
    "activation_memory": Quantity("Peak activation memory", "MB", 0, "scaling"),
    "latency_ms": Quantity("Latency", "ms", 0, "latency"),
    "memory_mb": Quantity("Peak memory", "MB", 0, "latency"),
    "pictures_per_second": Quantity("Pictures per second", "", 3, "latency"),
    "growth_time": Quantity("Time", "ms", 1, "scaling_time"),
    "flops_exponent": Quantity("exponent of one window’s FLOPs", "", 2, "scaling"),
    "trained_params": Quantity("Parameters, as trained", "K", 0, "train"),
    "training_seconds": Quantity("Training time", "s", 0, "train"),
    "device_hours": Quantity("Training time of all devices", "h", 1, "train"),
    "loss": Quantity("L1 loss", "", 4, "train"),
    "validation_psnr_db": Quantity("Validation PSNR", "dB", 2, "train"),
    "psnr_db": Quantity("PSNR", "dB", 2, "quality"),
    "ssim": Quantity("SSIM", "", 4, "quality"),
    "psnr_as_grey_db": Quantity("PSNR, grey pictures as grey", "dB", 2, "quality"),
    "diffusion_index": Quantity("Diffusion index", "", 2, "lam"),
    "information_area": Quantity("Information area", "%", 1, "lam"),
    "completeness_error": Quantity("Completeness error", "%", 1, "lam"),
    "refined_index": Quantity("Diffusion index, refined", "", 2, "lam"),
    "refined_error": Quantity("Completeness error, refined", "%", 2, "lam"),
}

Degradations = Mapping[tuple[str, int], str]  # (set, scale) -> how its LR pictures were made


def digits_for(quantity: str, value: float) -> int:
    """Decimals that a value is written with: more where whole units would hide a small one."""
    digits = QUANTITIES[quantity].digits
    if quantity not in ("latency_ms", "memory_mb") or not 0 < abs(value) < 10:
        return digits
    return 1 if abs(value) >= 1 else 2


class Fact(NamedTuple):
    """One quantity of one network (or other method), as measured here or printed elsewhere."""

    quantity: str
    network: str  # hit_sir, bicubic, mine; of a printed row we have no network of: as printed
    scale: Scale
    samples: tuple[float, ...]
    speaker: Speaker = "here"
    dataset: str | None = None
    setup: Setup | None = None  # of times and memory; None where it does not matter
    load: Load = USUAL  # of times and memory
    device_name: str = ""  # of times: of the device that they were taken on
    over: Over | None = None  # what a cost grows with
    seed: int | None = None  # None for what varies with no seed
    subject: str = ""  # the run or network that was measured
    items: tuple[Any, ...] = ()  # what samples are of: pictures, steps, sides
    law: PowerLaw | None = None  # fitted to samples over items
    session: str | None = None  # equal for times that were taken in turns
    hindrance: str = ""  # why the number may not be judged against the paper's
    recipe_hindrance: str = ""  # why it may not be held against a printed number
    source: str = ""
    doubts: tuple[str, ...] = ()  # about the measurement; the number is shown, marked
    # Of a validation PSNR: which weights it is of. What is of others makes no difference with it.
    validated: str = ""

    @property
    def value(self) -> float:
        """Mean of the samples; infinite where a picture equals its HR."""
        return math.fsum(self.samples) / len(self.samples)


class Facts:
    """The table, and selections of it."""

    def __init__(self, rows: Iterable[Fact]) -> None:
        self.rows = tuple(rows)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """A row for each fact."""
        return pd.DataFrame(self.rows, columns=list(Fact._fields))

    @cached_property
    def _index(self) -> dict[tuple[str, str], list[Fact]]:
        found: dict[tuple[str, str], list[Fact]] = {}
        for row in self.rows:
            found.setdefault((row.speaker, row.quantity), []).append(row)
        return found

    @cached_property
    def _by_network(self) -> dict[tuple[str, str, str], list[Fact]]:
        found: dict[tuple[str, str, str], list[Fact]] = {}
        for row in self.rows:
            found.setdefault((row.speaker, row.quantity, row.network), []).append(row)
        return found

    def find(self, quantity: str, network: str | None = None, **where: Any) -> list[Fact]:
        """Facts whose fields equal `where`, in the order of the records.

        Those measured here, unless `where` names another speaker.
        """
        speaker = where.pop("speaker", HERE)
        rows = (
            self._index.get((speaker, quantity), [])
            if network is None
            else self._by_network.get((speaker, quantity, network), [])
        )
        return [row for row in rows if all(getattr(row, k) == v for k, v in where.items())]

    def value(self, quantity: str, network: str, **where: Any) -> float | None:
        """The number of the first such fact, where one is enough: counts, and printed numbers."""
        found = self.find(quantity, network, **where)
        return found[0].value if found else None

    def distinct(self, field: str, quantity: str, **where: Any) -> list[Any]:
        """Values of a field, in the order of the records."""
        return list(dict.fromkeys(getattr(row, field) for row in self.find(quantity, **where)))


def facts_of(results: Results, published: Published) -> Facts:
    lr = degradations(results)
    doubts = {
        record.subject: [f"{doubt} (seed {record.run.seed})" for doubt in training_doubts(record)]
        for record in results.of(TrainingRecord)
    }
    measured = (
        # Weights are doubtful, not how many there are.
        row
        if row.quantity == "trained_params"
        else row._replace(doubts=(*row.doubts, *doubts.get(row.subject, ())))
        for result in results.done
        for row in _measured(result, lr)
    )
    return Facts([*measured, *_printed(published)])


def degradations(results: Results) -> Degradations:
    """How the LR pictures of each set and scale were made, where it is known."""
    return {(each.subject, each.scale): each.degradation for each in results.of(DatasetRecord)}


def _measured(result: Result, lr: Degradations) -> Iterator[Fact]:
    match result.record:
        case ComplexityRecord() as record:
            return _counts(record)
        case LatencyRecord() as record:
            return _times(cast(TimeJob, result.job), record)
        case ScalingRecord() as record:
            return _growth(record)
        case ScalingTimeRecord() as record:
            return _time_growth(cast(TimeGrowthJob, result.job), record)
        case TrainingRecord() as record:
            return _training(record, result.log, lr)
        case QualityRecord() as record:
            return _scores(cast(Any, result.job).subject, record, lr)
        case AttributionRecord() as record:
            return _maps(cast(Any, result.job).subject, record, lr)
        case _:
            return iter(())


def _counts(record: ComplexityRecord) -> Iterator[Fact]:
    fact = Fact(
        "params", record.network, record.scale, (record.params / 1e3,), subject=record.subject
    )
    yield fact
    reason = size_hindrance(record.output_size)
    yield fact._replace(
        quantity="flops",
        samples=(record.flops / 1e9,),
        hindrance=reason,
        doubts=count_doubts(record),
    )


def _times(job: TimeJob, record: LatencyRecord) -> Iterator[Fact]:
    fact = Fact(
        "latency_ms",
        record.network,
        record.scale,
        record.samples_ms,
        # A network of one's own has one formulation; it stands with what runs by default.
        setup=Setup(device_kind(job.device), record.formulation or "fused"),
        load=load_of(record),
        device_name=record.provenance.device_name,
        hindrance=size_hindrance(record.output_size),
        subject=record.subject,
        session=record.session,
    )
    timed = fact._replace(doubts=time_doubts(record))
    yield timed
    yield fact._replace(quantity="memory_mb", samples=(record.peak_memory_bytes / 1e6,))
    rates = tuple(record.batch * 1000 / ms for ms in record.samples_ms)
    yield timed._replace(quantity="pictures_per_second", samples=rates)


def place_of(job: Job) -> dict[str, Any]:
    """What facts of a job's record say of where they were measured, before there is a record."""
    subject = job.run if isinstance(job, TrainJob) else getattr(job, "subject", None)
    place: dict[str, Any] = {"dataset": getattr(job, "dataset", None)}
    if subject is not None:
        named = subject.network.name if isinstance(subject, RunSpec) else subject.network_name
        place |= {"network": named, "scale": subject.scale}
    if isinstance(job, TimeJob | TimeGrowthJob):
        place["setup"] = Setup(device_kind(job.device), job.formulation or "fused")
    if isinstance(job, TimeJob):
        place["load"] = load_of(job)
    if isinstance(job, GrowthJob):
        place["over"] = job.over
    return place


def load_of(timed: LatencyRecord | TimeJob) -> Load:
    return Load(timed.batch, timed.precision, timed.launch, timed.channels_last)


def _growth(record: ScalingRecord) -> Iterator[Fact]:
    sizes = {
        "flops": (1e9, record.flops),
        "activations": (1e6, record.activations),
        "peak_activation_bytes": (1e6, record.peak_activation_bytes),
    }
    names = {"peak_activation_bytes": "activation_memory"}
    for field, (unit, law) in sizes.items():
        yield Fact(
            f"growth_{names.get(field, field)}",
            record.network,
            record.scale,
            tuple(getattr(point, field) / unit for point in record.points),
            over=record.over,
            items=tuple(point.side for point in record.points),
            law=law,
            subject=record.subject,
        )
    if record.over == "window":
        # At one picture there are fewer windows the larger they are: p + 1 in each of them.
        law = record.flops.model_copy(update={"exponent": record.flops.exponent + 1})
        yield Fact(
            "flops_exponent",
            record.network,
            record.scale,
            (law.exponent,),
            items=tuple(point.side for point in record.points),
            law=law,
            subject=record.subject,
        )


def _time_growth(job: TimeGrowthJob, record: ScalingTimeRecord) -> Iterator[Fact]:
    """Medians at each size: ms; over windows, µs for each pixel of the picture.

    Not all networks' windows fill the same picture.
    """
    growths: tuple[tuple[Over, Any], ...] = (
        ("window", record.windows),
        ("picture", record.pictures),
    )
    for over, growth in growths:
        if growth is None:
            continue
        values = []
        for point in growth.points:
            middle_ms = float(pd.Series(point.samples_ms).median())
            pixels = math.prod(point.input_size)
            values.append(middle_ms * 1000 / pixels if over == "window" else middle_ms)
        yield Fact(
            "growth_time",
            record.network,
            record.scale,
            tuple(values),
            over=over,
            setup=Setup(device_kind(job.device), record.formulation),
            items=tuple(point.side for point in growth.points),
            law=growth.law,
            subject=record.subject,
        )


def _training(record: TrainingRecord, log: Sequence[LogLine], lr: Degradations) -> Iterator[Fact]:
    run = record.run
    fact = Fact(
        "trained_params",
        run.network.name,
        run.scale,
        (record.params / 1e3,),
        dataset=run.validation,
        seed=run.seed,
        subject=run.name,
        hindrance=hindrance_of(run, run.validation, run.scale, lr),
        recipe_hindrance=recipe_hindrance(run),
    )
    yield fact
    yield fact._replace(quantity="training_seconds", samples=(record.provenance.seconds,))
    if log and log[-1].device_seconds is not None:
        yield fact._replace(quantity="device_hours", samples=(log[-1].device_seconds / 3600,))
    yield from _curve(fact, "loss", log)
    yield from _curve(fact._replace(validated=record.validated), "validation_psnr_db", log)


def _curve(fact: Fact, quantity: str, log: Sequence[LogLine]) -> Iterator[Fact]:
    """A logged quantity by step, and the clocks at these steps: seconds and device-hours."""
    lines = [line for line in log if getattr(line, quantity) is not None]
    columns = {
        quantity: [getattr(line, quantity) for line in lines],
        f"{quantity}_seconds": [line.seconds for line in lines],
        f"{quantity}_device_hours": [
            line.device_seconds / 3600 for line in lines if line.device_seconds is not None
        ],
    }
    for name, values in columns.items():
        if lines and len(values) == len(lines):
            steps = tuple(line.step for line in lines)
            yield fact._replace(quantity=name, samples=tuple(map(float, values)), items=steps)


def hindrance_of(run: RunSpec | None, dataset: str | None, scale: Scale, lr: Degradations) -> str:
    """`hindrance`, for pictures of a set at a scale."""
    trained_on = lr.get((run.data, run.scale), BICUBIC_LR) if run else BICUBIC_LR
    return hindrance(run, trained_on, lr.get((dataset or "", scale), BICUBIC_LR))


def _of_subject(subject: Subject, dataset: str | None, lr: Degradations) -> dict[str, Any]:
    """What a fact says of a scored or mapped network."""
    run = subject.run if isinstance(subject, TrainedNetwork) else None
    return {
        "network": subject.network_name,
        "scale": subject.scale,
        "subject": subject.name,
        "seed": run.seed if run else None,
        "dataset": dataset,
        "hindrance": hindrance_of(run, dataset, subject.scale, lr),
        "recipe_hindrance": recipe_hindrance(run),
    }


def _scores(subject: Subject, record: QualityRecord, lr: Degradations) -> Iterator[Fact]:
    pictures = sorted(record.pictures, key=lambda picture: picture.name)
    values = {
        "psnr_db": [_infinite_if_none(p.psnr_db) for p in pictures],
        "ssim": [p.ssim for p in pictures],
        "psnr_as_grey_db": [_infinite_if_none((p.grey or p).psnr_db) for p in pictures],
    }
    for quantity, samples in values.items():
        yield Fact(
            quantity=quantity,
            samples=tuple(samples),
            items=tuple(p.name for p in pictures),
            **_of_subject(subject, record.dataset, lr),
        )


def _maps(subject: Subject, record: AttributionRecord, lr: Degradations) -> Iterator[Fact]:
    refined = [window.refined for window in record.windows]
    values: dict[str, list[float]] = {
        "diffusion_index": [w.diffusion_index for w in record.windows],
        "information_area": [w.information_area * 100 for w in record.windows],
        "completeness_error": [w.completeness_error * 100 for w in record.windows],
    }
    if all(refined):
        values["refined_index"] = [each.diffusion_index for each in refined if each]
        values["refined_error"] = [each.completeness_error * 100 for each in refined if each]
    for quantity, samples in values.items():
        yield Fact(
            quantity=quantity,
            samples=tuple(samples),
            items=tuple(map(_window_name, record.windows)),
            **_of_subject(subject, record.dataset, lr),
        )


def _window_name(window: WindowAttribution) -> str:
    return f"{window.picture} {','.join(map(str, (*window.corner, *window.window)))}"


def _infinite_if_none(score: float | None) -> float:
    return math.inf if score is None else score


def _printed(published: Published) -> Iterator[Fact]:
    costed = set()
    for quote in published.quotes:
        if (quote.method, quote.scale) not in costed:  # the same in the row of every test set
            costed.add((quote.method, quote.scale))
            yield from _printed_costs(quote)
        for quantity, value in (("psnr_db", quote.psnr_db), ("ssim", quote.ssim)):
            if value is not None:
                yield _quoted(quote, quantity, value)._replace(dataset=quote.dataset)
    for row in published.successors:
        yield from _successor(row)


def _printed_costs(quote: Quote) -> Iterator[Fact]:
    for quantity, value in (("params", quote.params_k), ("flops", quote.flops_g)):
        if value is not None:
            yield _quoted(quote, quantity, value)
    if quote.runtime_ms is not None and quote.scale == PAPER_RUNTIME_SCALE:
        yield _quoted(quote, "latency_ms", quote.runtime_ms)


def _quoted(quote: Quote, quantity: str, value: float) -> Fact:
    return Fact(
        quantity,
        printed_name(quote.method),
        quote.scale,
        (value,),
        speaker=PAPER,
        source=quote.source,
    )


def _successor(row: Successor) -> Iterator[Fact]:
    fact = Fact("params", row.method, row.scale, (row.params_k,), SUCCESSORS, source=row.source)
    costs = {
        "params": row.params_k,
        "flops": row.flops_g,
        "latency_ms": row.latency_ms,
        "memory_mb": row.memory_mb,
    }
    for quantity, value in costs.items():
        if value is not None:
            yield fact._replace(quantity=quantity, samples=(value,))
    for dataset in ("Urban100", "Manga109"):
        scores = {"psnr_db": row.score(dataset, "psnr"), "ssim": row.score(dataset, "ssim")}
        for quantity, score in scores.items():
            if score is not None:
                yield fact._replace(quantity=quantity, samples=(score,), dataset=dataset)
