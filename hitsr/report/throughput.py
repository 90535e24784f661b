"""Pictures per second at other batches, number formats, launches or layouts than the usual ones."""

from itertools import groupby, product

from hitsr.report.cells import Table
from hitsr.report.estimates import median
from hitsr.report.evidence import Evidence
from hitsr.report.names import FORMULATIONS, LAUNCHES, PRECISIONS, USUAL, Load, Setup
from hitsr.report.section import Caption, TableView
from hitsr.report.tables import Lines, Shelf, Shown, fill, measured
from hitsr.report.typeset import between, size
from hitsr.specs.network import Scale

_RATE = "pictures_per_second"
_Bench = tuple[Setup, Scale]  # what throughputs of one group share


def throughput_view(evidence: Evidence) -> TableView | None:
    """None where nothing but the usual setup was timed."""
    if not _benches(evidence):
        return None
    has_graphs = any(row.load.launch == "graph" for row in evidence.facts.find(_RATE))
    conditions = (
        "Pictures per second, by the median of the samples. "
        f"{'“One launch”: the whole forward is one CUDA graph. ' if has_graphs else ''}"
        "Machines are not compared with each other; peak memory is in the file."
    )
    caption = Caption(throughput_finding(evidence), conditions)
    return TableView(throughput_table(evidence), caption)


def throughput_finding(evidence: Evidence) -> str:
    """How much faster each network's best setup is, where the usual one was timed too."""
    gains = []
    for (setup, scale), network in product(_benches(evidence), evidence.networks):
        rows = evidence.facts.find(_RATE, network, scale=scale, setup=setup)
        rates = {row.load: median(row.samples).value for row in rows}
        if USUAL in rates and len(rates) > 1:
            gains.append(max(rates.values()) / rates[USUAL])
    if not gains:
        return "Throughput by batch and number format."
    return (
        f"The best setup of each network runs {between(gains, 2)} times as many pictures per "
        "second as one picture of 32-bit floats."
    )


def throughput_table(evidence: Evidence) -> Table:
    """Columns for launches and batches under each number format; groups as `_words` says."""
    benches = _benches(evidence)
    rows = [r for r in evidence.facts.find(_RATE) if (r.setup, r.scale) in benches]
    loads = sorted({row.load for row in rows}, key=_order)
    shelves = [
        Shelf(tuple(map(_column, shared)), PRECISIONS[precision])
        for precision, shared in groupby(loads, key=lambda load: load.precision)
    ]
    lines = (
        Lines(_words(evidence, bench), evidence.networks, {"setup": bench[0], "scale": bench[1]})
        for bench in benches
    )
    return fill(evidence, "throughput", "Network", shelves, lines)


def _order(load: Load) -> tuple[int, int, int, bool]:
    precisions, launches = (list(each) for each in (PRECISIONS, LAUNCHES))
    return (
        precisions.index(load.precision), launches.index(load.launch), load.batch,
        load.channels_last,
    )  # fmt: skip


def _column(load: Load) -> Shown:
    """ "batch 4, one launch": all of a load but its number format, which its shelf names."""
    words = load._replace(precision=USUAL.precision).words
    head = words if load.batch > 1 else ", ".join(filter(None, ["batch 1", words]))
    return measured(_RATE, head, load=load)


def _benches(evidence: Evidence) -> list[_Bench]:
    """Where something besides the usual load was timed."""
    rows = [row for row in evidence.facts.find(_RATE) if row.load != USUAL]
    found = {(row.setup, row.scale) for row in rows if row.setup}
    return sorted(found, key=lambda bench: (bench[0].order, bench[1]))


def _words(evidence: Evidence, bench: _Bench) -> str:
    setup, scale = bench
    (device, *_) = evidence.facts.distinct("device_name", _RATE, setup=setup, scale=scale)
    output = evidence.config.efficiency.output_size
    return f"{device}, ×{scale}, output {size(*output)}, {FORMULATIONS[setup.formulation]}"
