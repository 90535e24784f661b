"""Jobs that a process does ahead of their turn, and what is left of them by a failure or a kill."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hitsr.base.files import sha256
from hitsr.base.writers import sole_writer
from hitsr.data.images import write_png
from hitsr.models.backbone import create
from hitsr.plan.ahead import Wanted, sort_of, write_wanted
from hitsr.plan.batches import cost_batches
from hitsr.plan.jobs import Job
from hitsr.plan.kept import is_kept, kept_file, result_of
from hitsr.plan.planning import Plan, make_plan
from hitsr.records import ComplexityRecord, LatencyRecord
from hitsr.specs.config import Config

WANTED = Path("results/tiny/jobs/wanted.json")
# Runs a verb, and says at its end whether it has loaded torch.
VERB = """
import sys
from hitsr.cli import main
try:
    main()
finally:
    print("with torch" if "torch" in sys.modules else "without torch")
"""


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Released weights of two networks, of which none has run; one set of two pictures."""
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0)
    for name in ("first", "second"):
        write_png(
            Path(f"data/mine/HR/{name}.png"), noise.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        )
    names = ["swinir_light", "hit_sir"]
    for name in names:
        Path("weights").mkdir(exist_ok=True)
        torch.save({"params": create(name, 4).state_dict()}, f"weights/{name}_x4.pth")
    config: dict[str, Any] = {
        "name": "tiny", "title": "Tiny", "networks": names,
        "data": {"root": "data", "source": "folder", "test": ["mine"]},
        "weights": {"root": "weights", "scales": [4]},
        "efficiency": {
            "scales": [2, 4], "output_size": [32, 24],
            "latency": {"scales": [2, 4], "device": "cpu", "warmup": 0, "samples": 1,
                        "formulations": ["fused"]},
        },
        "lam": {"sets": ["mine"], "scales": [4], "crop": 32},
    }  # fmt: skip
    made = make_plan(Config.parse(config, "test"), {})
    for job in made.jobs:
        job.save(file_of(made, job))
        if job.kind == "prepare":
            assert "without torch" in done(made, job)
    return made


def file_of(plan: Plan, job: Job) -> Path:
    return plan.layout.job(job.kind, job.name)


def start(plan: Plan, *jobs: Job, along: bool = False) -> "subprocess.Popen[str]":
    """Start a verb as the pipeline does, which opens its log first."""
    log = plan.layout.log(jobs[0].kind, jobs[0].name)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.touch()
    flags = [str(word) for job in jobs for word in ("--job", file_of(plan, job))]
    return subprocess.Popen(
        [sys.executable, "-c", VERB, jobs[0].kind, *flags,
         *(["--along", str(WANTED)] if along else [])],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def said(process: "subprocess.Popen[str]") -> str:
    told = process.communicate()[0]
    return f"{told}exit status {process.returncode}"


def done(plan: Plan, *jobs: Job, along: bool = False) -> str:
    told = said(start(plan, *jobs, along=along))
    assert "exit status 0" in told, told
    return told


def want(plan: Plan, *batches: list[Job]) -> None:
    """List these, each of which a process does, as a run of the pipeline does."""
    listed = []
    for jobs in batches:
        sort, log = sort_of(jobs), plan.layout.log(jobs[0].kind, jobs[0].name)
        assert sort is not None
        files = tuple(file_of(plan, job) for job in jobs)
        listed.append(Wanted(sort=sort, jobs=files, log=log, made=()))
    write_wanted(WANTED, listed)


def of_kind(plan: Plan, kind: str) -> tuple[Job, Job]:
    """The jobs of both networks."""
    first, second = (
        job for job in plan.jobs if job.kind == kind and "x4.mine" in job.name
        if not job.name.startswith(("bicubic", "hr"))
    )  # fmt: skip
    return first, second


def contents(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path) for path in folder.glob("*.png")}


@pytest.mark.parametrize("kind", ["restore", "lam"])
def test_what_is_ready_is_done_ahead_and_taken_in_its_turn_without_torch(
    plan: Plan, kind: str
) -> None:
    first, second = of_kind(plan, kind)
    want(plan, [first], [second])
    told = done(plan, first, along=True)
    assert f"{second.name}: is done ahead of its turn" in told
    assert is_kept(second)
    assert second.output is not None
    assert not second.output.exists()
    told = done(plan, second, along=True)
    assert "without torch" in told
    assert second.output.exists()
    folder = second.output if kind == "restore" else second.output.parent
    ahead = contents(folder)
    assert "with torch" in done(plan, second)  # as alone
    assert contents(folder) == ahead != {}


def test_a_process_whose_job_another_does_ahead_does_others_meanwhile(plan: Plan) -> None:
    first, second = of_kind(plan, "restore")
    want(plan, [first], [second])
    with sole_writer(result_of(first), None):
        process = start(plan, first, along=True)
        wait_until(lambda: is_kept(second) or process.poll() is not None)
        assert process.poll() is None
        assert not is_kept(first)
    assert "exit status 0" in said(process)
    assert first.output
    assert first.output.exists()


def test_a_control_needs_no_torch(plan: Plan) -> None:
    (job,) = (job for job in plan.jobs if job.kind == "restore" and job.name.startswith("bicubic"))
    assert "without torch" in done(plan, job, along=True)


def test_a_failure_ahead_costs_nobody_but_the_job_itself(plan: Plan) -> None:
    first, second = of_kind(plan, "restore")
    Path("weights/hit_sir_x4.pth").write_bytes(b"no weights")
    want(plan, [first], [second])
    told = done(plan, first, along=True)
    assert f"{second.name}: not done ahead of its turn: WeightsError: " in told
    assert first.output is not None
    assert len(contents(first.output)) == 2
    told = said(start(plan, second, along=True))
    assert "hitsr: weights/hit_sir_x4.pth: " in told
    assert "exit status 1" in told


def wait_until(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + 1800  # far above what it takes: it only ends what hangs
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.005)


@pytest.mark.parametrize("killed", [0, 1], ids=["in its turn", "ahead of its turn"])
def test_pictures_of_a_killed_process_are_kept(plan: Plan, killed: int) -> None:
    jobs = of_kind(plan, "restore")
    want(plan, *([job] for job in jobs))
    folder = kept_file(jobs[killed])
    process = start(plan, jobs[0], along=True)
    wait_until(lambda: (folder / "first.png").is_file() or process.poll() is not None)
    process.kill()
    process.communicate()
    found = folder if folder.is_dir() else folder.parents[2] / folder.name
    before = {path.name: path.stat().st_mtime_ns for path in found.glob("*.png")}
    assert "first.png" in before
    for job in jobs:
        done(plan, job, along=True)
    output = jobs[killed].output
    assert output is not None
    assert {*contents(output)} == {"first.png", "second.png"}
    assert all((output / name).stat().st_mtime_ns == time_ns for name, time_ns in before.items())
    assert not [*output.parent.glob(".kept/*/*")]


def test_what_was_done_ahead_of_other_inputs_is_done_anew(plan: Plan) -> None:
    first, second = of_kind(plan, "restore")
    want(plan, [first], [second])
    done(plan, first, along=True)
    torch.manual_seed(1)
    torch.save({"params": create("hit_sir", 4).state_dict()}, "weights/hit_sir_x4.pth")
    stale = contents(kept_file(second))
    assert "with torch" in done(plan, second, along=True)
    assert second.output is not None
    assert {*contents(second.output).values()}.isdisjoint(stale.values())


@pytest.mark.parametrize("kind", ["complexity", "latency"])
def test_batches_of_costs_are_measured_ahead_as_they_are_alone(plan: Plan, kind: str) -> None:
    batches = [jobs for jobs in cost_batches(plan.jobs).values() if jobs[0].kind == kind]
    first, second, *_ = ([*jobs] for jobs in batches)
    want(plan, first, second)
    done(plan, *first, along=True)
    waiting = [kept_file(job).read_bytes() for job in second]
    told = done(plan, *second, along=True)
    assert "without torch" in told
    assert [job.output.read_bytes() for job in second if job.output] == waiting
    assert not any(map(is_kept, (*first, *second)))
    record = {"complexity": ComplexityRecord, "latency": LatencyRecord}[kind]
    for job in second:
        assert job.output is not None
        record.load(job.output, job_hash=job.hash)
