"""Timings on a GPU: events, energy, memory, settings, and every step from released to fastest."""

import shutil
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import hitsr
from hitsr.cli import app
from hitsr.data.images import write_png
from hitsr.measure.complexity import count
from hitsr.measure.forwards import Work
from hitsr.measure.fresh import peak_in_fresh_process, peak_memory
from hitsr.measure.latency import measure
from hitsr.measure.machine import machine_state
from hitsr.records import LatencyRecord, NtireRecord
from hitsr.specs.steps import STEPS, Step

TOOL = shutil.which("nvidia-smi")


def test_forwards_are_timed_by_events_with_energy_and_clocks(gpu: torch.device):
    (found,) = measure([hitsr.create("hit_sir", 2)], Work((128, 96), gpu), warmup=50, samples=9)
    assert found.clock == "cuda_events"
    assert all(0 < sample < 10_000 for sample in found.samples_ms)
    for state in (found.before, found.after):
        assert state
        assert not TOOL or (state.gpu_driver and state.gpu_mhz)
    assert found.energy is None or found.energy.joules > 0
    assert found.settings["cuda.matmul.allow_tf32"] == "False"
    assert found.settings["cudnn.allow_tf32"] == "False"


def test_memory_is_watched_by_the_allocator(gpu: torch.device):
    make, work = partial(nn.Conv2d, 3, 64, 3, padding=1), Work((512, 512), gpu)
    found, again = (peak_memory(make, work, threads=1) for _ in range(2))
    assert found.memory_kind == "cuda_allocator"
    assert found.peak_memory_bytes >= 64 * 512 * 512 * 4
    near = partial(pytest.approx, rel=0.05)  # the allocator may hand out a larger block
    assert again.peak_memory_bytes == near(found.peak_memory_bytes)
    # Of no convolution: in another process cuDNN's trials may choose another algorithm.
    enlarge = partial(nn.Upsample, scale_factor=4)
    here, alone = (peak(enlarge, work, 1) for peak in (peak_memory, peak_in_fresh_process))
    assert here.peak_memory_bytes == near(alone.peak_memory_bytes)


@pytest.mark.skipif(TOOL is None, reason="needs nvidia-smi, which some containers lack")
def test_what_nvidia_smi_says_of_a_gpu_is_understood(gpu: torch.device):
    held = torch.ones(2**20, device=gpu)
    state = machine_state(gpu)
    assert state.gpu_mhz
    assert state.gpu_max_mhz
    assert state.gpu_held_down_by is not None
    assert state.gpu_other_processes is not None
    del held


def test_a_triton_kernel_is_named_where_only_the_gpu_can_run_it(tmp_path: Path):
    file = tmp_path / "kernels_of_a_test.py"  # Triton reads the source of kernels
    file.write_text(
        """
import torch, triton
from torch import nn
from triton import language as tl

@triton.jit
def doubled(x, out, n, SIZE: tl.constexpr):
    at = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    tl.store(out + at, tl.load(x + at, mask=at < n) * 2, mask=at < n)

class Launches(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        x = self.first(x)
        out = torch.empty_like(x)
        doubled[(triton.cdiv(x.numel(), 64),)](x, out, x.numel(), SIZE=64)
        return out
"""
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        model = import_module("kernels_of_a_test").Launches()
        found = count(model, (8, 8), strict=False)
    assert (found.unknown, found.flops) == ({"Triton kernel doubled": 1}, 8 * 8 * 9)


def test_an_entry_to_the_challenge_is_timed_by_events_in_new_processes(tmp_path: Path):
    for name, (height, width) in {"a": (40, 60), "b": (64, 48)}.items():
        picture = np.full((height, width, 3), 99, dtype=np.uint8)
        write_png(tmp_path / "lr" / f"{name}.png", picture)
    out = tmp_path / "record.json"
    asked = ["ntire", "hit_sir", "--lr", str(tmp_path / "lr"), "--runs", "2", "--out", str(out)]
    done = CliRunner().invoke(app, [*asked, "--device", "cuda"])
    assert done.exit_code == 0, done.output
    record = NtireRecord.load(out)
    for run in record.runs:
        assert (run.clock, run.memory_kind) == ("cuda_events", "cuda_allocator")
        assert run.times_ms[0] > run.times_ms[1]  # no warm-up: the first one loads the kernels
        assert run.peak_memory_bytes > 4 * record.params
        assert run.settings["cudnn.allow_tf32"] == "True"
        assert run.settings["cuda.matmul.allow_tf32"] == "False"


def test_every_step_from_the_released_code_to_one_launch_is_timed_in_turns(tmp_path: Path):
    """As `latency --taken-apart` does."""
    asked = ("--scale", "2", "--output-size", "256x192", "--taken-apart", "--device", "cuda")
    short = ("--samples", "5", "--warmup-seconds", "1", "--out-dir", str(tmp_path))
    done = CliRunner().invoke(app, ["latency", "swinir_light", *asked, *short])
    assert done.exit_code == 0, done.output
    records = [LatencyRecord.load(path) for path in tmp_path.iterdir()]
    steps = {Step(r.formulation, r.precision, r.launch) for r in records if r.formulation}
    assert steps == set(STEPS["cuda"])
    assert len({record.session for record in records}) == 1
    tf32 = {r.precision: r.settings["cuda.matmul.allow_tf32"] for r in records}
    assert (tf32["tf32"], tf32["float32"]) == ("True", "False")
