"""Records as lines and tables for people."""

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, median, quantiles

from hitsr.records import (
    AttributionRecord,
    ComplexityRecord,
    LatencyRecord,
    PictureScore,
    PowerLaw,
    QualityRecord,
    ScalingRecord,
    ScalingTimeRecord,
    SizeCost,
    SizeTime,
)
from hitsr.records.doubts import count_doubts, time_doubts
from hitsr.specs.config import Over

MEASURED = {"window": "mixer of one block", "picture": "network"}  # what each growth is of


def total(record: ComplexityRecord) -> str:
    """One line with all counts of a network; another with what they lack."""
    parts = [f"{record.params:,} parameters", f"{record.flops / 1e9:.2f} G FLOPs"]
    if record.activations is not None:
        parts.append(f"{record.activations / 1e6:.0f} M activations")
    if record.peak_activation_bytes is not None:
        parts.append(f"{record.peak_activation_bytes / 1e6:.0f} MB of them at once")
    size = "{}x{}, LR {}x{}".format(*record.output_size, *record.input_size)
    form = f"{record.formulation} formulation, " if record.formulation else ""
    how = f"{form}{record.counter} counter"
    line = f"{record.subject}: {', '.join(parts)} at {size} ({how})"
    return "\n".join([line, *(f"  doubtful: {doubt}" for doubt in count_doubts(record))])


def by_module(record: ComplexityRecord) -> str:
    """A row per module, each followed by its submodules, and the total."""
    head = ("module", "kind", "parameters", "G FLOPs", "share", "M activations")
    rows = [
        (
            module.name,
            module.kind,
            f"{module.params:,}",
            *_flops(module.flops, record),
            "" if module.activations is None else f"{module.activations / 1e6:.1f}",
        )
        for module in record.modules
    ]
    return "\n".join([table([head, *rows], names=2), total(record)])


def by_operator(record: ComplexityRecord) -> str:
    """A row per operator, by falling FLOPs; then operators that add nothing or may lack; the total.

    The FLOPs of an operator that may compute products which are not counted are "unknown".
    """
    head = ("operator", "G FLOPs", "share", "M activations", "calls not counted")
    by_cost = sorted(record.flops_by_operator.items(), key=lambda item: -item[1])
    activations = record.activations_by_operator
    rows = [
        (name, *_flops(flops, record), f"{activations.get(name, 0) / 1e6:.1f}", "")
        for name, flops in by_cost
    ]
    rows += [(name, "unknown", "", "", str(calls)) for name, calls in record.unknown.items()]
    rows += [(name, "", "", "", str(calls)) for name, calls in record.uncounted.items()]
    return "\n".join([table([head, *rows], names=1), total(record)])


def growth(record: ScalingRecord) -> str:
    """A row of counts per size, and the fitted exponents."""
    head = (*_size_head(record.over), "G FLOPs", "M activations", "peak MB")
    rows = [
        (
            *_size(point),
            f"{point.flops / 1e9:.3f}",
            f"{point.activations / 1e6:.1f}",
            f"{point.peak_activation_bytes / 1e6:.0f}",
        )
        for point in record.points
    ]
    lines = [
        f"{record.subject}: {MEASURED[record.over]}, {record.formulation} formulation",
        table([head, *rows]),
        _fit("FLOPs", record.over, record.flops),
        _fit("activations", record.over, record.activations),
        _fit("peak memory of the network", record.over, record.peak_activation_bytes),
    ]
    if record.over == "window":
        lines.append(f"FLOPs of one window: p + 1 = {_exponent(record.flops, 1)} (1 is linear)")
    return "\n".join(lines)


def time_growth(record: ScalingTimeRecord) -> str:
    """A row of median times per size, and the fitted exponents."""
    device = record.provenance.device_name
    lines = [f"{record.subject}: time, {record.formulation} formulation on {device}"]
    overs: tuple[Over, ...] = ("window", "picture")
    for over, times in zip(overs, (record.windows, record.pictures), strict=True):
        if times is None:
            continue
        rows = [(*_size(point), f"{median(point.samples_ms):.1f}") for point in times.points]
        lines.append(table([(*_size_head(over), "ms"), *rows]))
        lines.append(_fit(MEASURED[over], over, times.law))
    return "\n".join(lines)


def side_by_side(records: Mapping[str, LatencyRecord]) -> str:
    """A line per record, by the name of its job, with the doubts about it; then the speed-ups.

    A speed-up compares two ways to compute one network: median and quartiles of the ratios of
    neighbouring forwards. The last way is compared with each earlier one.
    """
    lines = [_times(name, record) for name, record in records.items()]
    by_subject: dict[str, list[LatencyRecord]] = {}
    for record in records.values():
        by_subject.setdefault(record.subject, []).append(record)
    for *earlier, last in by_subject.values():
        for record in earlier:
            if ratios := record.over(last):
                low, middle, high = _quartiles(ratios)
                lines.append(
                    f"{last.subject}: {_way(last)} is {middle:.2f} times as fast as "
                    f"{_way(record)}; middle half of {len(ratios)} ratios: {low:.2f} to {high:.2f}"
                )
    return "\n".join(lines)


def _way(record: LatencyRecord) -> str:
    """How a forward was computed: "fused", "fused float16 graph"."""
    unusual = (record.precision, "float32"), (record.launch, "eager")
    parts = [record.formulation or "own", *(name for name, usual in unusual if name != usual)]
    return " ".join(parts)


def scores(record: QualityRecord) -> str:
    """A row per picture and their mean; then what is missing and why, and scores of grey samples.

    A mean is infinite if any picture is identical to its HR, and unavailable if any score is.
    """
    rows = {picture.name: _scores(picture) for picture in record.pictures}
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    cells = [(name, *(_score(row[column]) for column in columns)) for name, row in rows.items()]
    means = (_mean([row[column] for row in rows.values()]) for column in columns)
    grid = table([("picture", *columns), *cells, ("mean", *means)], names=1)
    absent = (f"{name}: unavailable: {reason}" for name, reason in record.unavailable.items())
    return "\n".join([grid, *absent, *_failures(record), *_grey(record)])


def _failures(record: QualityRecord) -> Iterator[str]:
    """A line per metric and reason for which it is missing for some pictures."""
    failed: dict[tuple[str, str], list[str]] = {}
    for picture in record.pictures:
        for why in picture.unavailable.items():
            failed.setdefault(why, []).append(picture.name)
    for (metric, reason), names in failed.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        yield f"{metric}: no mean, as it is unavailable for {names[0]}{more}: {reason}"


def _grey(record: QualityRecord) -> Iterator[str]:
    """A line per picture of one channel, with the scores of a grey HR picture's samples."""
    for picture in record.pictures:
        if picture.one_channel:
            sides = " and ".join(side.upper() for side in picture.one_channel)
            line = f"{picture.name}: grey {sides}, above as three equal channels"
            if grey := picture.grey:
                level = f"{_score(grey.psnr_db)} dB" if grey.psnr_db is not None else "infinite"
                line += f"; as grey, PSNR is {level}, SSIM {_score(grey.ssim)}"
            yield line


def attribution(record: AttributionRecord) -> str:
    """A row per window, the mean diffusion index, and what was left out."""
    head = ("picture", "window", "DI", "area", "error", "refined")
    rows = [
        (
            each.picture,
            ",".join(map(str, each.window)),
            f"{each.diffusion_index:.3f}",
            f"{each.information_area:.1%}",
            f"{each.completeness_error:.2%}",
            f"{each.refined.diffusion_index:.3f}" if each.refined else "-",
        )
        for each in record.windows
    ]
    mean = fmean(each.diffusion_index for each in record.windows)
    grid = table([head, *rows, ("mean", "", f"{mean:.3f}", "", "", "")], names=1)
    absent = (f"{each.picture}: left out: {each.reason}" for each in record.left_out)
    return "\n".join([grid, *absent])


def _flops(flops: int, record: ComplexityRecord) -> tuple[str, str]:
    return f"{flops / 1e9:.3f}", f"{flops / record.flops:.1%}"


def _size_head(over: Over) -> tuple[str, str]:
    return f"{over} side", "picture"


def _size(point: SizeCost | SizeTime) -> tuple[str, str]:
    return str(point.side), f"{point.input_size[0]}x{point.input_size[1]}"


def _fit(quantity: str, over: Over, law: PowerLaw) -> str:
    return f"{quantity} ~ {over} tokens^p, p = {_exponent(law)}"


def _exponent(fit: PowerLaw, more: int = 0) -> str:
    return f"{fit.exponent + more:.4f} ± {fit.standard_error:.4f}"


def _times(name: str, record: LatencyRecord) -> str:
    middle = median(record.samples_ms)
    low, high = _percentile(record.samples_ms, 5), _percentile(record.samples_ms, 95)
    parts = (
        f"{name}: {middle:.1f} ms",
        f"median of {len(record.samples_ms)}",
        f"5th to 95th percentile {low:.1f} to {high:.1f} ms",
        f"{1000 * record.batch / middle:.2f} pictures/s",
        f"peak {record.peak_memory_bytes / 1e6:.0f} MB",
        f"warm-up {record.warmup}",
        *_clocks(record),
    )
    doubts = (f"  doubtful: {doubt}" for doubt in time_doubts(record))
    return "\n".join([", ".join(parts), *doubts])


def _clocks(record: LatencyRecord) -> Iterator[str]:
    """ "GPU 1980 MHz before, 1935 after": where both are known."""
    before, after = record.before, record.after
    if before and after:
        is_gpu = record.provenance.device.startswith("cuda")
        field, name = ("gpu_mhz", "GPU") if is_gpu else ("cpu_mhz", "CPU")
        clocks = getattr(before, field), getattr(after, field)
        if None not in clocks:
            yield "{} {:.0f} MHz before, {:.0f} after".format(name, *clocks)


def _percentile(values: Sequence[float], percent: int) -> float:
    if len(values) == 1:
        return values[0]
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return low, middle, high


def _score(value: float | None) -> str:
    if value is None:
        return "identical"
    return "unavailable" if math.isnan(value) else f"{value:.4f}"


def _mean(values: list[float | None]) -> str:
    finite = [value for value in values if value is not None]
    return _score(fmean(finite)) if len(finite) == len(values) else "infinite"


def _scores(picture: PictureScore) -> dict[str, float | None]:
    """Scores by column: None for an infinite one, NaN for one that is unavailable."""
    rgb = picture.rgb
    assert rgb is not None  # `quality` measures it
    return {
        "PSNR Y dB": picture.psnr_db,
        "SSIM Y": picture.ssim,
        "PSNR RGB dB": rgb.psnr_db,
        "SSIM RGB": rgb.ssim,
        **picture.others,
        **dict.fromkeys(picture.unavailable, math.nan),
    }


def table(rows: list[tuple[str, ...]], names: int = 0) -> str:
    """Aligned columns: the first `names` to the left, the others, which are numbers, right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            f"{cell:<{width}}" if place < names else f"{cell:>{width}}"
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
