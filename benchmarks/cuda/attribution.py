"""Seconds of local attribution maps at x4, of windows in parts of 64x64."""

import hitsr
from benchmarks.cuda.bench import Bench, Measured, Result, clock_ms, photograph, table
from hitsr.measure.attribution import local_attributions

_WINDOW = (120, 120, 16)


def attribution(bench: Bench) -> Result:
    """All windows of a network, one network after the other."""
    rows = []
    lr = photograph(64, 64)
    for name in bench.networks:
        if (name, "float32") in bench.broken:
            continue
        model = hitsr.create(name, 4).eval().to(bench.device)
        start = clock_ms(bench.device)
        maps = list(local_attributions(model, ((lr, _WINDOW) for _ in range(bench.windows))))
        seconds = (clock_ms(bench.device) - start) / 1000
        assert len(maps) == bench.windows
        rows.append([name, f"{seconds:.1f} s", f"{seconds / bench.windows * 1000:.0f} ms"])
    title = f"## Local attribution, {bench.windows} windows at x4, LR 64x64, 50 steps"
    return Result(f"{title}\n\n{table(['', 'all', 'per window'], rows)}", rows, Measured())
