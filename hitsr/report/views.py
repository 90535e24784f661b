"""The tables of the page, made from evidence: what stands in which cell, and how it is judged."""

from hitsr.records import QualityRecord
from hitsr.report.budget import Budget
from hitsr.report.cells import (
    NO_BASELINE,
    Cell,
    Column,
    Group,
    Row,
    Table,
    difference,
    estimate,
    gain,
    here,
    paper,
    ranked,
    row,
)
from hitsr.report.measures import (
    Evidence,
    infinite_if_none,
    latency_ms,
    published_speedup,
    score,
    scored,
    setup_name,
    speedup,
)
from hitsr.report.names import BICUBIC, family_key, family_of, in_pairs, label, method_of, role_of
from hitsr.report.published import (
    FLOPS_TOLERANCE_G,
    PAPER_DEVICE,
    PAPER_RUNTIME_SCALE,
    PARAMS_TOLERANCE_K,
    PSNR_TOLERANCE_DB,
)
from hitsr.report.statistics import mean
from hitsr.report.typeset import size
from hitsr.spec import Scale


def complexity_table(evidence: Evidence) -> Table:
    """Parameters and FLOPs: here, paper, difference; one group per scale."""
    return Table(
        "complexity",
        "Parameters and FLOPs",
        "Network",
        (
            Column("here", "K", "Parameters"),
            Column("paper", "K", "Parameters"),
            Column("difference", "K", "Parameters", room="mark"),
            Column("here", "G", "FLOPs"),
            Column("paper", "G", "FLOPs"),
            Column("difference", "G", "FLOPs", room="mark"),
        ),
        tuple(
            Group(
                f"×{scale}, {_input_size(evidence, scale)}",
                tuple(_complexity_row(evidence, name, scale) for name in _networks(evidence)),
            )
            for scale in evidence.config.efficiency.scales
        ),
    )


def latency_table(evidence: Evidence) -> Table:
    """Time and memory per device and formulation, beside the paper's ratios; a group per scale."""
    setups = evidence.latency_setups
    columns: list[Column] = []
    for setup in setups:
        group = setup_name(setup)
        columns += [
            Column("latency", "ms", group, room="spread"),
            Column("times as fast", "", group),
            Column("peak memory", "MB", group),
        ]
    quoted = f"Paper, {PAPER_DEVICE}, ×{PAPER_RUNTIME_SCALE}"
    columns += [Column("latency", "ms", quoted), Column("times as fast", "", quoted)]
    scales = sorted({scale for _, scale, _, _ in evidence.results.latency})
    groups = tuple(
        Group(
            f"×{scale}, {_input_size(evidence, scale)}",
            tuple(_latency_row(evidence, name, scale) for name in _networks(evidence)),
        )
        for scale in scales
    )
    return Table("latency", "Latency and peak memory", "Network", tuple(columns), groups)


def quality_table(evidence: Evidence, budget: Budget) -> Table:
    """PSNR and SSIM on each test set beside the control and, for the paper's sets, the paper."""
    columns: list[Column] = []
    for dataset in evidence.config.data.test:
        columns += [
            Column("PSNR", "dB", dataset, room="spread"),
            Column("to bicubic", "dB", dataset),
            Column("SSIM", "", dataset),
            Column("paper PSNR", "dB", dataset),
        ]
        if evidence.published.has_dataset(dataset):
            columns.append(Column("difference", "dB", dataset, room="mark"))
    groups = tuple(
        Group(f"×{scale}", _quality_rows(evidence, budget, scale))
        for scale in evidence.config.train.scales
    )
    return Table("quality", "PSNR and SSIM", "Network", tuple(columns), groups)


def picture_tables(evidence: Evidence) -> list[Table]:
    """One table per dataset and scale: PSNR of each picture, mean over seeds."""
    return [
        table
        for dataset in evidence.config.data.test
        for scale in evidence.config.train.scales
        if (table := _picture_table(evidence, dataset, scale)) is not None
    ]


def training_table(evidence: Evidence) -> Table:
    """What each finished training was and came to."""
    columns = (
        Column("parameters", "K"),
        Column("steps"),
        Column("final L1 loss"),
        Column("validation PSNR", "dB"),
        Column("time", "s"),
        Column("weights, SHA-256", is_text=True),
    )
    order = _networks(evidence)
    runs = sorted(evidence.results.training, key=lambda run: order.index(method_of(run)))
    rows = tuple(_training_row(evidence, run) for run in runs)
    return Table("training", "The training runs", "Run", columns, (Group("", rows),))


def _networks(evidence: Evidence) -> list[str]:
    return in_pairs(evidence.config.networks)


def _input_size(evidence: Evidence, scale: Scale) -> str:
    width, height = (round(side / scale) for side in evidence.config.efficiency.output_size)
    return f"input {size(width, height)}"


def _complexity_row(evidence: Evidence, network: str, scale: Scale) -> Row:
    record = evidence.results.complexity.get((network, scale))
    quote = evidence.published.cost(network, scale)
    params_k = record.params / 1e3 if record else None
    flops_g = record.flops / 1e9 if record else None
    quoted_k, quoted_g = (quote.params_k, quote.flops_g) if quote else (None, None)
    return row(
        network,
        [
            here(params_k),
            paper(quoted_k),
            difference(params_k, quoted_k, 0, PARAMS_TOLERANCE_K),
            here(flops_g, 1),
            paper(quoted_g, 1),
            difference(flops_g, quoted_g, 1, FLOPS_TOLERANCE_G),
        ],
    )


def _latency_row(evidence: Evidence, network: str, scale: Scale) -> Row:
    results, cells = evidence.results, []
    family = family_of(network)
    converted = family is not None and role_of(network) == "conversion"
    for setup in evidence.latency_setups:
        record = results.latency.get((network, scale, *setup))
        ratio = speedup(results, family, scale, setup) if family and converted else None
        cells += [
            estimate(latency_ms(results, network, scale, setup), 0),
            here(ratio, 1) if converted else NO_BASELINE,
            here(record.peak_memory_bytes / 1e6 if record else None),
        ]
    quoted = published_speedup(evidence.published, family) if family and converted else None
    cells.append(paper(evidence.published.runtime_ms(network)))
    cells.append(paper(quoted, 1) if converted else NO_BASELINE)
    return row(network, cells)


def _quality_rows(evidence: Evidence, budget: Budget, scale: Scale) -> tuple[Row, ...]:
    methods = [BICUBIC, *_networks(evidence)]
    columns: list[list[Cell]] = []
    for dataset in evidence.config.data.test:
        columns += _quality_columns(evidence, budget, scale, dataset, methods)
    return tuple(row(method, cells) for method, cells in zip(methods, zip(*columns)))


def _quality_columns(
    evidence: Evidence, budget: Budget, scale: Scale, dataset: str, methods: list[str]
) -> list[list[Cell]]:
    results, published = evidence.results, evidence.published
    scores = [score(results, method, scale, dataset) for method in methods]
    quotes = [published.quality(method, scale, dataset) for method in methods]
    quoted = [quote.psnr_db if quote else None for quote in quotes]
    columns = [
        ranked([estimate(found.psnr_db if found else None, 2) for found in scores]),
        [gain(found.over_bicubic_db if found else None, 2) for found in scores],
        ranked([estimate(found.ssim if found else None, 4) for found in scores]),
        ranked([paper(value, 2) for value in quoted]),
    ]
    if published.has_dataset(dataset):
        tolerance = PSNR_TOLERANCE_DB[dataset]
        columns.append(
            [
                difference(
                    found.psnr_db.value if found else None, value, 2, tolerance, budget.is_papers
                )
                for found, value in zip(scores, quoted)
            ]
        )
    return columns


def _picture_table(evidence: Evidence, dataset: str, scale: Scale) -> Table | None:
    methods = [BICUBIC, *_networks(evidence)]
    records = {method: scored(evidence.results, method, scale, dataset) for method in methods}
    found = {method: runs for method, runs in records.items() if runs}
    if not found:
        return None
    pictures = sorted(picture.name for picture in next(iter(found.values()))[0].pictures)
    rows = tuple(
        Row(name, "ctl", None, tuple(ranked([_psnr(runs, name) for runs in found.values()])))
        for name in pictures
    )
    columns = tuple(Column(label(method), "dB") for method in found)
    return Table(
        f"pictures-{dataset}-x{scale}",
        f"{dataset}, ×{scale}",
        "Picture",
        columns,
        (Group("", rows),),
    )


def _psnr(records: list[QualityRecord], picture: str) -> Cell:
    """PSNR of one picture, mean over seeds."""
    values = [
        infinite_if_none(scored_picture.psnr_db)
        for record in records
        for scored_picture in record.pictures
        if scored_picture.name == picture
    ]
    return estimate(mean(values), 2)


def _training_row(evidence: Evidence, run: str) -> Row:
    record = evidence.results.training[run].record
    spec, network = record.run, record.run.network.name
    name = f"{label(network)}, ×{spec.scale}, seed {spec.seed}"
    cells = (
        here(record.params / 1e3),
        here(spec.recipe.steps),
        here(record.final_loss, 4),
        here(record.final_validation_psnr_db, 2),
        here(record.provenance.seconds),
        Cell(text=record.weights_sha256[:12], kind="text"),
    )
    return Row(name, family_key(network), role_of(network), cells)
