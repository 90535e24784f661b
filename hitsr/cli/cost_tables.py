"""Records of cost as lines and tables for people."""

from collections.abc import Sequence
from statistics import median

from hitsr.records import (
    ComplexityRecord,
    LatencyRecord,
    PowerLaw,
    ScalingRecord,
    ScalingTimeRecord,
)


def total(record: ComplexityRecord) -> str:
    """One line."""
    parts = [f"{record.params:,} parameters", f"{record.flops / 1e9:.2f} G FLOPs"]
    if record.activations is not None:
        parts.append(f"{record.activations / 1e6:.0f} M activations")
    if record.peak_activation_bytes is not None:
        parts.append(f"{record.peak_activation_bytes / 1e6:.0f} MB of them at once")
    width, height = record.output_size
    form = f"{record.formulation} formulation, " if record.formulation else ""
    how = f"{form}{record.counter} counter"
    return f"{record.subject}: {', '.join(parts)} at {width}x{height} ({how})"


def by_module(record: ComplexityRecord) -> str:
    """A row per module, parts after their whole, and the total."""
    head = ("module", "kind", "parameters", "G FLOPs", "share", "M activations")
    rows = [
        (
            module.name,
            module.kind,
            f"{module.params:,}",
            f"{module.flops / 1e9:.3f}",
            f"{module.flops / record.flops:.1%}",
            "" if module.activations is None else f"{module.activations / 1e6:.1f}",
        )
        for module in record.modules
    ]
    return "\n".join([_table([head, *rows], names=2), total(record)])


def by_operator(record: ComplexityRecord) -> str:
    """A row per operator, the dearest first, then those that are not counted."""
    head = ("operator", "G FLOPs", "share", "M activations", "calls not counted")
    by_cost = sorted(record.flops_by_operator.items(), key=lambda item: -item[1])
    rows = [
        (
            name,
            f"{flops / 1e9:.3f}",
            f"{flops / record.flops:.1%}",
            f"{record.activations_by_operator.get(name, 0) / 1e6:.1f}",
            "",
        )
        for name, flops in by_cost
    ]
    rows += [(name, "", "", "", str(calls)) for name, calls in record.uncounted.items()]
    return "\n".join([_table([head, *rows], names=1), total(record)])


def growth(record: ScalingRecord) -> str:
    """A row per size, and the fitted exponents."""
    what = "mixer of one block" if record.over == "window" else "network"
    head = (f"{record.over} side", "picture", "G FLOPs", "M activations", "peak MB")
    rows = [
        (
            str(point.side),
            f"{point.input_size[0]}x{point.input_size[1]}",
            f"{point.flops / 1e9:.3f}",
            f"{point.activations / 1e6:.1f}",
            f"{point.peak_activation_bytes / 1e6:.0f}",
        )
        for point in record.points
    ]
    fits = {
        "FLOPs": record.flops,
        "activations": record.activations,
        "peak memory of the network": record.peak_activation_bytes,
    }
    lines = [f"{record.subject}: {what}, {record.formulation} formulation"]
    lines.append(_table([head, *rows], names=0))
    lines += [
        f"{name} ~ {record.over} tokens^p, p = {_exponent(fit)}" for name, fit in fits.items()
    ]
    if record.over == "window":
        lines.append(f"FLOPs of one window: p + 1 = {_exponent(record.flops, 1)} (1 is linear)")
    return "\n".join(lines)


def time_growth(record: ScalingTimeRecord) -> str:
    """A row per size, and the fitted exponents."""
    place = f"{record.formulation} formulation on {record.provenance.device_name}"
    lines = [f"{record.subject}: time, {place}"]
    of_what = {"window": "mixer of one block", "picture": "network"}
    for over, growth in (("window", record.windows), ("picture", record.pictures)):
        if growth is None:
            continue
        head = (f"{over} side", "picture", "ms")
        rows = [
            (
                str(point.side),
                f"{point.input_size[0]}x{point.input_size[1]}",
                f"{median(point.samples_ms):.1f}",
            )
            for point in growth.points
        ]
        lines.append(_table([head, *rows], names=0))
        lines.append(f"{of_what[over]} ~ {over} tokens^p, p = {_exponent(growth.law)}")
    return "\n".join(lines)


def _exponent(fit: PowerLaw, more: int = 0) -> str:
    return f"{fit.exponent + more:.4f} ± {fit.standard_error:.4f}"


def side_by_side(records: Sequence[LatencyRecord]) -> str:
    """A line per record; of forwards that took turns, how many times as fast the last one is."""
    from hitsr.report.statistics import quartiles

    lines = [timed(record) for record in records]
    *earlier, last = records
    for record in earlier:
        ratios = record.over(last)
        low, middle, high = quartiles(ratios)
        lines.append(
            f"{last.subject}: {last.formulation} is {middle:.2f} times as fast as "
            f"{record.formulation}, the middle half of {len(ratios)} neighbours "
            f"{low:.2f} to {high:.2f}"
        )
    return "\n".join(lines)


def timed(record: LatencyRecord) -> str:
    """One line."""
    middle = median(record.samples_ms)
    parts = (
        f"{record.subject}: {middle:.1f} ms",
        f"median of {len(record.samples_ms)}",
        record.setup,
        f"{1000 * record.batch / middle:.2f} pictures/s",
        f"peak {record.peak_memory_bytes / 1e6:.0f} MB",
        f"warm-up {record.warmup}" + ("" if record.warmup_stable else ", not steady"),
    )
    return ", ".join(parts)


def _table(rows: list[tuple[str, ...]], names: int) -> str:
    """Columns in line: the first `names` to the left, the others, numbers, to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            f"{cell:<{width}}" if place < names else f"{cell:>{width}}"
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
