"""The verbs about cost as a user meets them."""

import json
import statistics
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from hitsr.base.errors import HitsrError
from hitsr.cli import app
from hitsr.records import ComplexityRecord, LatencyRecord, ScalingRecord, ScalingTimeRecord
from hitsr.records.latency import TRITON_KERNELS

RUNNER = CliRunner()
SMALL = ("-s", "4", "--output-size", "32x32", "--device", "cpu", "--warmup", "1", "--samples", "1")


@pytest.fixture
def network(tmp_path: Path) -> str:
    """A file of a network with one block."""
    import hitsr

    file = tmp_path / "one.json"
    patch = {"depths": [1], "windows.ratios": [1], "name": "one"}
    file.write_text(hitsr.NETWORKS["hit_sir"].patch(patch).to_json())
    return str(file)


def run(*arguments: str) -> str:
    result = RUNNER.invoke(app, arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def refused(*arguments: str) -> str:
    result = RUNNER.invoke(app, arguments)
    assert isinstance(result.exception, HitsrError), (result.output, result.exception)
    return str(result.exception)


def test_modules_are_listed_down_to_a_depth(network: str, tmp_path: Path):
    table = run("complexity", network, "--by", "module", "--depth", "2")
    assert [row.split()[0] for row in table.splitlines()[1:-1]] == [
        "first", "first_norm", "groups", "groups.0", "last_norm", "last",
        "upsample", "upsample.0", "upsample.1",
    ]  # fmt: skip
    out = tmp_path / "complexity.json"
    run("complexity", network, "--depth", "1", "--out", str(out))
    record = ComplexityRecord.load(out)
    assert "groups.0" not in {module.name for module in record.modules}
    assert sum(module.flops for module in record.modules) == record.flops


def test_the_default_scale_of_costs_is_one(network: str):
    size = ("--output-size", "32x32", "--json")
    counted = json.loads(run("complexity", network, *size))
    timed = json.loads(run("latency", network, *size, *SMALL[4:]))
    assert (counted["scale"], timed["scale"]) == (2, 2)


def test_sides_of_lr_are_rounded_and_said(network: str):
    assert "at 1280x720, LR 427x240 (paper" in run("complexity", network, "-s", "3")
    for verb in ("complexity", "latency"):
        told = refused(verb, network, "-s", "4", "--output-size", "64x2")
        assert "'64x2': must be WIDTHxHEIGHT, such as 1280x720, of 4 pixels or more" in told


def test_operators_are_listed_and_add_up(network: str):
    record = json.loads(run("complexity", network, "--json"))
    table = run("complexity", network, "--by", "operator").splitlines()[1:-1]
    assert {row.split()[0] for row in table} == {
        *record["flops_by_operator"], *record["uncounted"]
    }  # fmt: skip
    assert sum(record["flops_by_operator"].values()) == record["flops"]


def test_fused_is_counted_when_asked_for(network: str):
    record = json.loads(run("complexity", network, "--formulation", "fused", "--json"))
    assert record["formulation"] == "fused"
    assert "baddbmm" in record["flops_by_operator"]


def test_scaling_prints_the_exponent_and_records_it(tmp_path: Path):
    out = tmp_path / "scaling.json"
    text = run("scaling", "swinir_light", "--at", "8,16,32", "--out", str(out))
    record = ScalingRecord.load(out)
    assert [point.side for point in record.points] == [8, 16, 32]
    assert f"{record.flops.exponent + 1:.4f}" in text


def test_times_over_sizes_are_recorded(
    network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from hitsr import api

    monkeypatch.setattr(api, "TIMED_PICTURES", (8, 16, 24))
    out = tmp_path / "times.json"
    asked = ("--over", "picture", "--samples", "2", "--device", "cpu", "--out", str(out))
    text = run("scaling-time", network, *asked)
    record = ScalingTimeRecord.load(out)
    assert record.windows is None
    assert record.pictures is not None
    assert [point.side for point in record.pictures.points] == [8, 16, 24]
    assert all(len(point.samples_ms) == 2 for point in record.pictures.points)
    assert f"p = {record.pictures.law.exponent:.4f}" in text


def test_latency_of_several_batches_is_a_record_each(network: str, tmp_path: Path):
    batches = ("--batch", "1", "--batch", "2", "--out-dir", str(tmp_path / "latency"))
    printed = json.loads(run("latency", network, *SMALL, *batches, "--json"))
    assert [record["batch"] for record in printed] == [1, 2]
    files = {file.name: LatencyRecord.load(file) for file in (tmp_path / "latency").iterdir()}
    assert {name: record.batch for name, record in files.items()} == {
        "one-x4.cpu.fused.json": 1, "one-x4.cpu.fused.b2.json": 2,
    }  # fmt: skip


def test_formulations_are_timed_side_by_side(network: str, tmp_path: Path):
    both = ("--formulation", "paper,fused", "--out-dir", str(tmp_path))
    lines = run("latency", network, *SMALL[:-1], "3", *both).splitlines()
    said = [line for line in lines if not line.startswith("  doubtful")]  # of a busy machine
    paper, fused = (
        LatencyRecord.load(tmp_path / f"one-x4.cpu.{form}.json") for form in ("paper", "fused")
    )
    assert paper.session == fused.session
    assert len(paper.over(fused)) == 3
    assert [line.partition(":")[0] for line in said] == [
        "one-x4.cpu.paper", "one-x4.cpu.fused", "one-x4",
    ]  # fmt: skip
    assert f"fused is {statistics.median(paper.over(fused)):.2f} times as fast as paper" in said[-1]
    assert paper.peak_memory_bytes > 0


def test_another_devices_record_is_not_overwritten(network: str, tmp_path: Path):
    out = tmp_path / "latency.json"
    run("latency", network, *SMALL, "--out", str(out))
    run("latency", network, *SMALL, "--out", str(out))
    record = LatencyRecord.load(out)
    made = record.provenance.model_copy(update={"device_name": "another GPU"})
    record.model_copy(update={"provenance": made}).save(out)
    before = out.read_bytes()
    assert "was measured on another GPU" in refused("latency", network, *SMALL, "--out", str(out))
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ("complexity", "hit_sir", "--counter", "fvcore", "--formulation", "fused"),
            "use --counter torch",
        ),
        (("latency", "hit_sirr"), "did you mean 'hit_sir'"),
        (("latency", "hit_sir", "--output-size", "12"), "must be WIDTHxHEIGHT"),
        (("latency", "hit_sir", "--batch", "1", "--batch", "2", "--out", "x"), "--out-dir alone"),
        (("latency", "hit_sir", "--formulation", "paper,fused", "--out", "x"), "--out-dir alone"),
        (("latency", "hit_sir", "--formulation", "paper,quick"), "got 'quick'"),
        (
            ("latency", "hit_sir", "--taken-apart", "--graph"),
            "steps of the device; leave out --graph",
        ),
        (
            ("latency", "hit_sir", "--taken-apart", "--formulation", "fused"),
            "leave out --formulation",
        ),
        (("latency", "mine.py:build", "--formulation", "released"), "leave out --formulation"),
        (("complexity", "mine.py:build", "--formulation", "fused"), "leave out --formulation"),
        (("scaling", "hit_sir", "--at", "8,x"), "must be sides in pixels"),
        (("scaling", "hit_sir", "--at", "8,16"), "three different sides"),
        (("scaling", "hit_sir", "-s", "5"), "must be 2, 3 or 4"),
    ],
)
def test_bad_argument_is_told_before_anything_heavy(arguments: tuple[str, ...], told: str):
    code = (
        "import sys; from hitsr.cli import app, HitsrError\n"
        f"try: app({list(arguments)!r})\n"
        "except HitsrError as error: print(error, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told in done.stdout
    assert done.stdout.strip().endswith("False")


def test_absent_devices_are_told(network: str, monkeypatch: pytest.MonkeyPatch):
    import torch

    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert "use 'cpu'" in refused("latency", network, "--device", "mps")


@pytest.mark.parametrize("verb", ["complexity", "scaling", "latency", "scaling-time"])
def test_help_needs_nothing_heavy(verb: str):
    code = (
        "import sys; from hitsr.cli import app\n"
        f"try: app(['{verb}', '--help'])\n"
        "except SystemExit: print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("False")


CUSTOM = """
import torch

@torch.library.custom_op("hitsr_cli_tests::mix", mutates_args=())
def mix(x: torch.Tensor) -> torch.Tensor:
    return x @ x.transpose(-2, -1) @ x

class Own(torch.nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.last, self.up = torch.nn.Conv2d(3, 3 * scale**2, 1), torch.nn.PixelShuffle(scale)

    def forward(self, x):
        return self.up(self.last(mix(x)))

def build(scale):
    return Own(scale)
"""


def test_what_a_count_of_ones_own_network_lacks_is_named(tmp_path: Path):
    (tmp_path / "mixing.py").write_text(CUSTOM)
    arguments = ("complexity", f"{tmp_path}/mixing.py:build", "--output-size", "32x32")
    count, doubt = run(*arguments).splitlines()
    assert "0.00 G FLOPs" in count
    assert doubt == ("  doubtful: FLOPs lack what these compute: hitsr_cli_tests::mix (1 call)")
    rows = run(*arguments, "--by", "operator").splitlines()
    assert any(row.split() == ["hitsr_cli_tests::mix", "unknown", "1"] for row in rows)


def test_times_are_shown_with_percentiles_clocks_and_doubts():
    from hitsr.cli.tables import side_by_side
    from hitsr.records import MachineState, Provenance

    made = Provenance(
        commit=None, dirty=None, versions={}, device="cuda:0", device_name="a GPU", threads=1,
        command="hitsr latency", seconds=1,
    )  # fmt: skip
    record = LatencyRecord(
        subject="hit_sir-x2", job_hash="0" * 16, provenance=made, network="hit_sir", scale=2,
        output_size=(64, 64), input_size=(32, 32), formulation="fused", clock="cuda_events",
        warmup=4, warmup_stable=False, samples_ms=(12.0, 10.0, 11.0), peak_memory_bytes=5_000_000,
        memory_kind="cuda_allocator", before=MachineState(gpu_mhz=345),
        after=MachineState(gpu_mhz=1935),
    )  # fmt: skip
    assert side_by_side({"one": record}).splitlines() == [
        "one: 11.0 ms, median of 3, 5th to 95th percentile 10.1 to 11.9 ms, 90.91 pictures/s, "
        "peak 5 MB, warm-up 4, GPU 345 MHz before, 1935 after",
        "  doubtful: times had not settled when the warm-up ended, after 4 forwards",
    ]


@pytest.mark.parametrize(
    ("launched", "kernel"),
    [
        ("_attention_branch, _mlp, _norm", "Triton kernels"),
        ("_mlp, _norm", "scaled_dot_product_attention"),
        ("none", "scaled_dot_product_attention"),
    ],
)
def test_records_name_triton_kernels_only_where_mixers_used_them(launched: str, kernel: str):
    """On a GPU, whose timing has the names of the kernels that a forward launched."""
    import torch

    import hitsr
    from hitsr.cli.doing.timing import _kernel
    from hitsr.measure.forwards import Work

    network = SimpleNamespace(spec=hitsr.NETWORKS["swinir_light"])
    job = SimpleNamespace(subject=network, formulation="fused")
    work = Work((64, 64), torch.device("cuda", 0))
    timing = SimpleNamespace(settings={TRITON_KERNELS: launched})
    assert _kernel(job, work, timing) == kernel
