"""Throughput at batches, dtypes, layouts or compiling of their own, beside the usual setup."""

from typing import NamedTuple

from hitsr.records import LatencyRecord
from hitsr.report.cells import Column, Group, Row, Span, Table, here, row
from hitsr.report.measures import FORMULATIONS, Evidence, pictures_per_second
from hitsr.report.section import Caption, TableView
from hitsr.report.typeset import between, size
from hitsr.specs.network import Formulation, Scale


class Bench(NamedTuple):
    """What throughputs of one group share."""

    device: str
    scale: Scale
    formulation: Formulation
    output_size: tuple[int, int]  # width, height

    @property
    def words(self) -> str:
        form = FORMULATIONS[self.formulation]
        return f"{self.device}, ×{self.scale}, output {size(*self.output_size)}, {form}"


class Load(NamedTuple):
    """How forwards were run; the default is the usual setup."""

    batch: int = 1
    dtype: str = "float32"
    channels_last: bool = False
    compiled: bool = False
    autocast: bool = False

    @property
    def words(self) -> str:
        """ "batch 4, float16, compiled"."""
        extras = {
            "channels last": self.channels_last,
            "compiled": self.compiled,
            "autocast to bfloat16": self.autocast,
        }
        names = [f"batch {self.batch}", "" if self.dtype == "float32" else self.dtype]
        return ", ".join(filter(None, [*names, *(name for name, on in extras.items() if on)]))


def throughput_view(evidence: Evidence) -> TableView | None:
    """None where nothing but the usual setup was timed."""
    if not evidence.results.special:
        return None
    caption = Caption(
        throughput_finding(evidence),
        "Pictures per second, by the median of the samples, 32-bit floats unless said. Machines "
        "are not compared with each other; peak memory is in the file.",
    )
    return TableView(throughput_table(evidence), caption)


def throughput_finding(evidence: Evidence) -> str:
    """What the best setup is worth, for networks of which the usual one was timed too."""
    gains = []
    for records in _benches(evidence).values():
        for network in {network for network, _ in records}:
            of_network = {load: r for (name, load), r in records.items() if name == network}
            usual = of_network.get(Load())
            if usual and len(of_network) > 1:
                best = max(map(pictures_per_second, of_network.values()))
                gains.append(best / pictures_per_second(usual))
    if not gains:
        return "Throughput by batch and number format."
    return (
        f"The best setup of each network runs {between(gains, 2)} times as many pictures per "
        "second as one picture of 32-bit floats."
    )


def throughput_table(evidence: Evidence) -> Table:
    """A column per setup; a group per device, scale and formulation."""
    benches = _benches(evidence)
    found = {load for records in benches.values() for _, load in records}
    loads = sorted(found, key=lambda load: (load.batch, load.dtype != "float32", load))
    columns = tuple(Column(load.words) for load in loads)
    groups = tuple(
        Group(
            bench.words,
            tuple(_row(network, loads, records) for network in evidence.networks),
        )
        for bench, records in benches.items()
    )
    return Table("throughput", "Network", (Span(columns, "Pictures per second"),), groups)


def _row(network: str, loads: list[Load], records: dict[tuple[str, Load], LatencyRecord]) -> Row:
    found = (records.get((network, load)) for load in loads)
    return row(network, [here(pictures_per_second(r) if r else None, 3) for r in found])


def _benches(evidence: Evidence) -> dict[Bench, dict[tuple[str, Load], LatencyRecord]]:
    """Every latency of a device, scale and formulation at which something special was timed."""
    results = evidence.results
    benches: dict[Bench, dict[tuple[str, Load], LatencyRecord]] = {}
    for record in results.special:
        benches.setdefault(_bench(record), {})
    for record in (*results.latency.values(), *results.special):
        if _bench(record) in benches:
            load = Load(
                record.batch, record.dtype, record.channels_last, record.compiled, record.autocast
            )
            benches[_bench(record)][record.network, load] = record
    return dict(sorted(benches.items()))


def _bench(record: LatencyRecord) -> Bench:
    return Bench(
        record.provenance.device_name,
        record.scale,
        record.formulation or "fused",
        record.output_size,
    )
