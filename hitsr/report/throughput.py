"""Pictures per second at other batches, number formats or layouts than the usual ones."""

from itertools import product

from hitsr.report.cells import Table
from hitsr.report.estimates import median
from hitsr.report.evidence import Evidence
from hitsr.report.names import FORMULATIONS, Setup
from hitsr.report.section import Caption, TableView
from hitsr.report.speed_claims import device_of
from hitsr.report.tables import Lines, Shelf, fill, measured
from hitsr.report.typeset import between, size
from hitsr.specs.network import Scale

_RATE = "pictures_per_second"
_Bench = tuple[Setup, Scale]  # what throughputs of one group share


def throughput_view(evidence: Evidence) -> TableView | None:
    """None where nothing but the usual setup was timed."""
    if not _benches(evidence):
        return None
    caption = Caption(
        throughput_finding(evidence),
        "Pictures per second, by the median of the samples, 32-bit floats unless said. Machines "
        "are not compared with each other; peak memory is in the file.",
    )
    return TableView(throughput_table(evidence), caption)


def throughput_finding(evidence: Evidence) -> str:
    """How much faster each network's best setup is, where the usual one was timed too."""
    gains = []
    for (setup, scale), network in product(_benches(evidence), evidence.networks):
        rows = evidence.facts.find(_RATE, network, scale=scale, setup=setup)
        rates = {row.load: median(row.samples).value for row in rows}
        if "" in rates and len(rates) > 1:
            gains.append(max(rates.values()) / rates[""])
    if not gains:
        return "Throughput by batch and number format."
    return (
        f"The best setup of each network runs {between(gains, 2)} times as many pictures per "
        "second as one picture of 32-bit floats."
    )


def throughput_table(evidence: Evidence) -> Table:
    """A column per load; a group per device, scale and formulation."""
    benches = _benches(evidence)
    rows = [r for r in evidence.facts.find(_RATE) if (r.setup, r.scale) in benches]
    loads = sorted({row.load for row in rows}, key=lambda load: (load != "", load))
    columns = tuple(measured(_RATE, load or "batch 1", load=load) for load in loads)
    lines = (
        Lines(_words(evidence, bench), evidence.networks, {"setup": bench[0], "scale": bench[1]})
        for bench in benches
    )
    shelf = Shelf(columns, "Pictures per second")
    return fill(evidence, "throughput", "Network", [shelf], lines)


def _benches(evidence: Evidence) -> list[_Bench]:
    """Where something besides one picture of 32-bit floats was timed."""
    rows = [row for row in evidence.facts.find(_RATE) if row.load]
    return sorted({(row.setup, row.scale) for row in rows if row.setup})


def _words(evidence: Evidence, bench: _Bench) -> str:
    setup, scale = bench
    (subject, *_) = evidence.facts.distinct("subject", _RATE, setup=setup, scale=scale)
    device, output = device_of(evidence, subject, setup), evidence.config.efficiency.output_size
    return f"{device}, ×{scale}, output {size(*output)}, {FORMULATIONS[setup.formulation]}"
