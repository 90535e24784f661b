"""Timings on a GPU: events, energy, memory, settings, and every step from released to fastest."""

from functools import partial
from pathlib import Path

import torch
from torch import nn
from typer.testing import CliRunner

import hitsr
from hitsr.cli import app
from hitsr.measure.forwards import Work
from hitsr.measure.fresh import peak_in_fresh_process
from hitsr.measure.latency import measure
from hitsr.records import LatencyRecord
from hitsr.specs.steps import STEPS, Step


def test_forwards_are_timed_by_events_with_energy_and_clocks(gpu: torch.device):
    (found,) = measure([hitsr.create("hit_sir", 2)], Work((128, 96), gpu), warmup=50, samples=9)
    assert found.clock == "cuda_events"
    assert all(0 < sample < 10_000 for sample in found.samples_ms)
    for state in (found.before, found.after):
        assert state
        assert state.gpu_driver
        assert state.gpu_mhz
    assert found.energy is None or found.energy.joules > 0
    assert found.settings["cuda.matmul.allow_tf32"] == "False"
    assert found.settings["cudnn.allow_tf32"] == "False"


def test_memory_is_watched_by_the_allocator(gpu: torch.device):
    make = partial(nn.Conv2d, 3, 64, 3, padding=1)
    found = peak_in_fresh_process(make, Work((512, 512), gpu), threads=1)
    assert found.memory_kind == "cuda_allocator"
    assert found.peak_memory_bytes >= 64 * 512 * 512 * 4


def test_every_step_from_the_released_code_to_one_launch_is_timed_in_turns(tmp_path: Path):
    """For a pair of networks, as `latency --taken-apart` does."""
    asked = ("--scale", "2", "--output-size", "256x192", "--taken-apart", "--device", "cuda")
    records = []
    for name in ("swinir_light", "hit_sir"):
        out = tmp_path / name
        done = CliRunner().invoke(
            app, ["latency", name, *asked, "--samples", "5", "--out-dir", str(out)]
        )
        assert done.exit_code == 0, done.output
        found = [LatencyRecord.load(path) for path in out.iterdir()]
        steps = {Step(r.formulation, r.precision, r.launch) for r in found if r.formulation}
        assert steps == set(STEPS["cuda"])
        assert len({record.session for record in found}) == 1
        records += found
    tf32 = {r.precision: r.settings["cuda.matmul.allow_tf32"] for r in records}
    assert (tf32["tf32"], tf32["float32"]) == ("True", "False")
