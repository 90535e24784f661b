"""Entries to the NTIRE challenge on efficient super-resolution, as tables for people."""

import math
from statistics import fmean

from hitsr.cli.tables import table
from hitsr.records import EntryRun, NtireRecord
from hitsr.records.doubts import count_doubts


def entry(record: NtireRecord, baseline: NtireRecord | None) -> str:
    """A row per run, then the row that the challenge's test code prints, then its scores.

    Everything is a mean over pictures, and then over runs.
    """
    rows = [
        (
            str(number),
            f"{fmean(run.times_ms):.3f}",
            f"{run.times_ms[0]:.3f}",
            f"{fmean(run.times_ms[1:]):.3f}" if run.times_ms[1:] else "-",
            _run_psnr(run),
            f"{run.peak_memory_bytes / 2**20:.2f}",
        )
        for number, run in enumerate(record.runs, 1)
    ]
    head = ("run", "mean ms", "first picture ms", "the others ms", "PSNR dB", "peak MiB")
    count = len(record.pictures)
    how = f"{record.formulation} formulation, " if record.formulation else ""
    where = f"{how}{record.provenance.device_name}, {record.runs[0].clock}"
    lines = [
        f"{record.subject}: {count} picture{'s' * (count > 1)}, {where}",
        table([head, *rows]),
        table([_ENTRY_HEAD, _entry_row(record), *([_entry_row(baseline)] if baseline else [])], 1),
        *(f"  doubtful: {doubt}" for doubt in count_doubts(record)),
    ]
    return "\n".join([*lines, *([_scores(record, baseline)] if baseline else [])])


_WEIGHTS = (0.7, 0.15, 0.15)  # of the scores of runtime, FLOPs and parameters
_ENTRY_HEAD = (
    *("Model", "Val PSNR", "Val Time [ms]", "Params [M]", "FLOPs [G]", "Acts [M]", "Mem [M]"),
    "Conv",
)


def _entry_row(record: NtireRecord) -> tuple[str, ...]:
    return (
        record.subject,
        _mean_psnr(record),
        f"{_runtime_ms(record):.2f}",
        f"{record.params / 1e6:.3f}",
        f"{record.flops / 1e9:.2f}",
        f"{record.activations / 1e6:.2f}",
        f"{fmean(run.peak_memory_bytes for run in record.runs) / 2**20:.2f}",
        str(record.convolutions),
    )


def _scores(record: NtireRecord, baseline: NtireRecord) -> str:
    """exp(2 r) of each ratio r to the baseline, and their weighted sum; or why there are none."""
    here, there = record.provenance.device_name, baseline.provenance.device_name
    if here != there:
        return f"scores: none, as the baseline was measured on {there}"
    if [each.lr_sha256 for each in record.pictures] != [e.lr_sha256 for e in baseline.pictures]:
        return "scores: none, as the baseline was measured on other pictures"
    if not baseline.flops:
        return "scores: none, as the baseline has no FLOPs"
    ratios = {
        "runtime": _runtime_ms(record) / _runtime_ms(baseline),
        "FLOPs": record.flops / baseline.flops,
        "parameters": record.params / baseline.params,
    }
    scores = {name: _score(ratio) for name, ratio in ratios.items()}
    final = sum(weight * score for weight, score in zip(_WEIGHTS, scores.values(), strict=True))
    shown = (f"{name} {score:.4g}" for name, score in {**scores, "final": final}.items())
    return f"scores beside {baseline.subject}: {', '.join(shown)}"


def _score(ratio: float) -> float:
    return math.exp(2 * ratio) if ratio < 350 else math.inf  # a float has no more


def _runtime_ms(record: NtireRecord) -> float:
    return fmean(fmean(run.times_ms) for run in record.runs)


def _run_psnr(run: EntryRun) -> str:
    if run.psnr_db is None:
        return "-"
    return "infinite" if None in run.psnr_db else f"{fmean(filter(None, run.psnr_db)):.4f}"


def _mean_psnr(record: NtireRecord) -> str:
    scores = [score for run in record.runs for score in run.psnr_db or ()]
    if not scores:
        return "-"
    return "infinite" if None in scores else f"{fmean(filter(None, scores)):.2f}"
