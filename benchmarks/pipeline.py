"""Measure what the pipeline costs besides the work of its jobs.

`python -m benchmarks.pipeline --out pipeline.md` runs the pipeline on a small config, one job at a
time: networks with random weights, two sets of small pictures, counts, timings and maps. Runs
in which every job has a process of its own alternate with runs in which processes do jobs ahead. A
process's start is what passes until hitsr's command line is imported, and what importing torch and
opening a GPU takes; the rest of its time is work, as is the server that measures memory on a CPU.
The overhead is the share of the time in which no process is at work.

`--run FILE` runs the report of a config once, on all cores, as `make report` does, in a folder that
is deleted. `--config FILE` runs nothing: it counts processes that a config starts on a GPU, from
its plan, and takes the time of `snakemake -n`.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Annotated, Any, NamedTuple

import numpy as np
import psutil
import torch
import typer
import yaml

import hitsr
from benchmarks.machine import Clock, machine, quartiles
from hitsr.data.images import write_png
from hitsr.plan.ahead import sort_of
from hitsr.plan.batches import cost_batches
from hitsr.plan.jobs import Job, TimeJob, TrainJob
from hitsr.plan.kept import FolderJob
from hitsr.plan.planning import make_plan
from hitsr.specs.ablation import read_ablations
from hitsr.specs.config import load_config

ROOT = Path(__file__).parents[1]
SETS, SIDE, SCALE = ("one", "two"), 96, 4  # pixels of an HR picture's side
CONFIG: dict[str, Any] = {
    "name": "small",
    "title": "Pipeline",
    "data": {"root": "data", "source": "folder", "test": list(SETS)},
    "weights": {"root": "weights", "scales": [SCALE]},
    "efficiency": {
        "scales": [2, 4],
        "output_size": [96, 96],
        "latency": {"scales": [2, 4], "formulations": ["fused"], "warmup": 1, "samples": 3},
    },
    "lam": {"sets": [SETS[0]], "scales": [SCALE], "crop": 32},
}
# Stands in the place of `hitsr`: notes what its process takes, and with ALONE leaves out --along.
VERB = """#!{python}
import builtins, json, os, sys, time
import psutil
begun, plain = psutil.Process().create_time(), builtins.__import__
starts = {{}}  # name -> when it began and ended, and processor time

def processors():
    times = os.times()
    return time.process_time() + times.children_user + times.children_system

def timed(name, function, *arguments):
    start, spent = time.time(), processors()
    try:
        return function(*arguments)
    finally:
        starts[name] = [start, time.time(), processors() - spent]

def importing(name, *more, **named):
    if name.partition(".")[0] != "torch":
        return plain(name, *more, **named)
    builtins.__import__ = plain
    timed("torch", plain, "torch")
    import torch
    opening = torch.cuda._lazy_init
    def first():
        torch.cuda._lazy_init = opening
        timed("gpu", opening)
    torch.cuda._lazy_init = first
    return plain(name, *more, **named)

builtins.__import__ = importing
if os.environ.get("ALONE") and "--along" in sys.argv:
    at = sys.argv.index("--along")
    del sys.argv[at : at + 2]
def verb():
    from hitsr.cli import main

    starts["python"] = [begun, time.time(), processors()]
    try:
        main()
    finally:
        said = {{"span": [begun, time.time(), processors()], "starts": starts}}
        with open({log!r}, "a", encoding="utf-8") as file:
            print(json.dumps(said), file=file)

if __name__ == "__main__":  # and not in the processes that measure memory
    verb()
"""
Span = tuple[float, float, float]  # when it began and ended, s; processor time, s


class Started(NamedTuple):
    """One process of the pipeline, and the parts of its start, by name."""

    span: Span
    starts: dict[str, Span]

    def work(self) -> Iterator[tuple[float, float]]:
        """When it was at work, from and to."""
        at = self.span[0]
        for begin, end, _ in sorted(self.starts.values()):
            yield at, begin
            at = end
        yield at, self.span[1]


class Run(NamedTuple):
    """One run of the pipeline: seconds, and its processes."""

    total: float
    work: float  # in which a process was at work; in processor time, of all
    starts: float  # of processes, added up
    processes: int
    with_torch: int
    with_gpu: int
    driver: float  # processor time of Snakemake's own process
    driver_mb: float  # its memory, at most

    @property
    def overhead(self) -> float:
        """The share of the time that is not the work of jobs."""
        return 1 - self.work / self.total


class Driver(NamedTuple):
    """Snakemake's own process."""

    seconds: float = 0.0  # processor time
    memory_mb: float = 0.0  # at most


class Starts(NamedTuple):
    """How many processes of a config open the GPU, if there is one, besides its trainings."""

    trainings: int
    alone: int  # each job, or batch of costs, and each measurement of memory has its own
    late: int  # shared, where the pictures of a training are made before another one ends
    early: int  # shared, where all jobs of a sort are ready at once


def main(
    out: Annotated[Path, typer.Option(help="Markdown table to write.")],
    repeats: Annotated[int, typer.Option(min=0, help="Runs of each kind.")] = 3,
    network: Annotated[list[str] | None, typer.Option(help="Default: all six.")] = None,
    clock: Annotated[
        Clock, typer.Option(help="cpu: processor time, for a shared machine.")
    ] = Clock.wall,
    config: Annotated[
        list[Path] | None, typer.Option(help="Count processes of this config; repeatable.")
    ] = None,
    run: Annotated[
        list[Path] | None, typer.Option(help="Run the report of this config; repeatable.")
    ] = None,
) -> None:
    """Run the pipeline in both ways in turns, run configs, count processes, and write tables."""
    networks = network or [*hitsr.NETWORKS]
    runs: dict[str, list[Run]] = {"alone": [], "shared": []}
    for _ in range(repeats):
        for way, found in runs.items():
            found.append(_small(networks, clock, alone=way == "alone"))
            print(way, found[-1], f"overhead {found[-1].overhead:.0%}", file=sys.stderr, flush=True)
    whole = {file.stem: [_whole(file, clock)] for file in run or ()}
    files = config or [ROOT / "configs" / f"{name}.yaml" for name in ("demo", "official", "paper")]
    small = f"{', '.join(networks)}, {len(SETS)} sets, {clock} time"
    lines = [*_table(runs, small), *_table(whole, f"Reports on all cores, {clock} time")]
    out.write_text("\n".join([*lines, *_counted(files)]), encoding="utf-8")


def _small(networks: list[str], clock: Clock, alone: bool) -> Run:
    with TemporaryDirectory() as name:
        folder = Path(name)
        _copy(folder)
        _lay_out(folder, networks)
        arguments = ["--cores", "1", "--configfile", "config.yaml"]
        return _run(folder, arguments, clock, ALONE="1" if alone else "")


def _whole(file: Path, clock: Clock) -> Run:
    with TemporaryDirectory() as name:
        folder = Path(name)
        _copy(folder)
        shutil.copy(file, folder / "config.yaml")
        for shared in ("data", "weights"):
            if (ROOT / shared).is_dir():
                (folder / shared).symlink_to(ROOT / shared)
        return _run(folder, ["--configfile", "config.yaml"], clock, ALONE="")


def _run(folder: Path, arguments: Sequence[str], clock: Clock, **more: str) -> Run:
    tools, log = folder / "tools", folder / "processes.jsonl"
    tools.mkdir()
    verb = VERB.format(python=sys.executable, log=str(log))
    (tools / "hitsr").write_text(verb, encoding="utf-8")
    (tools / "hitsr").chmod(0o755)
    paths = os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]])
    start = _now(clock)
    driver = _snakemake(folder, arguments, {"PATH": paths, **more})
    total = _now(clock) - start
    lines = log.read_text(encoding="utf-8").splitlines()
    return _summed([Started(**json.loads(line)) for line in lines], total, clock, driver)


def _snakemake(folder: Path, arguments: Sequence[str], environment: dict[str, str]) -> Driver:
    """Run Snakemake, which ends this program if it fails."""
    seen = Driver()
    with TemporaryFile() as said:
        driver = subprocess.Popen(
            [Path(sys.executable).parent / "snakemake", *arguments],
            cwd=folder, stdout=said, stderr=said, env={**os.environ, **environment},
        )  # fmt: skip
        while driver.poll() is None:
            seen = _look(driver.pid) or seen
            time.sleep(0.05)
        if driver.returncode:
            said.seek(0)
            sys.exit(said.read().decode(errors="replace"))
    return seen


def _look(process: int) -> Driver | None:
    """What a process has taken so far; None if it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
        user, system, *_ = psutil.Process(process).cpu_times()
    except (OSError, psutil.Error):
        return None
    found = re.search(r"^VmHWM:\s*(\d+) kB", status, re.M)
    return Driver(user + system, int(found[1]) / 1000) if found else None


def _summed(processes: Sequence[Started], total: float, clock: Clock, driver: Driver) -> Run:
    starts = [span for each in processes for span in each.starts.values()]
    if clock is Clock.wall:
        started = sum(end - begin for begin, end, _ in starts)
        work = covered([span for each in processes for span in each.work()])
    else:
        started = sum(spent for *_, spent in starts)
        work = sum(each.span[2] for each in processes) - started
    return Run(
        total,
        work,
        started,
        len(processes),
        sum("torch" in each.starts for each in processes),
        sum("gpu" in each.starts for each in processes),
        *driver,
    )


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """The length of what spans cover, which may overlap."""
    found, until = 0.0, -inf
    for begin, end in sorted(spans):
        found += max(0.0, end - max(begin, until))
        until = max(until, end)
    return found


def dry_run(file: Path) -> Driver:
    """Take the time of `snakemake -n` for the report of a config."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        _copy(folder)
        shutil.copy(file, folder / "config.yaml")
        return _snakemake(folder, ["-n", "--configfile", "config.yaml"], {})


def _now(clock: Clock) -> float:
    """Seconds of the wall clock, or of processors in all processes that have ended."""
    if clock is Clock.wall:
        return time.perf_counter()
    times = os.times()
    return times.children_user + times.children_system


def _copy(folder: Path) -> None:
    """The workflow's files."""
    for name in ("workflow", "reports", "ablations"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "Snakefile", folder)
    (folder / "profiles").symlink_to("workflow/profiles")


def _lay_out(folder: Path, networks: list[str]) -> None:
    """The small config, sets of noise and random weights."""
    config = yaml.safe_dump({**CONFIG, "networks": networks})
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    noise = np.random.default_rng(0)
    for name in SETS:
        picture = noise.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        write_png(folder / "data" / name / "HR" / "a.png", picture)
    (folder / "weights").mkdir()
    for name in networks:
        torch.manual_seed(0)
        state = {"params": hitsr.create(name, SCALE).state_dict()}
        torch.save(state, folder / f"weights/{name}_x{SCALE}.pth")


def count(file: Path) -> Starts:
    """Count the processes of a config's report, as planned for a machine with a GPU."""
    config = load_config(file)
    latency = config.efficiency.latency.model_copy(update={"device": "cuda"})
    changes: dict[str, Any] = {
        "efficiency": config.efficiency.model_copy(update={"latency": latency}),
        "train": config.train and config.train.model_copy(update={"device": "cuda"}),
    }
    plan = make_plan(config.model_copy(update=changes), read_ablations(ROOT / "ablations"))
    jobs = [job for job in plan.reported if getattr(job, "device", "cpu") != "cpu"]
    trainings = [job for job in jobs if isinstance(job, TrainJob)]
    batches: list[Sequence[Job]] = [*cost_batches(jobs).values()]
    batches += [[job] for job in jobs if isinstance(job, FolderJob)]
    memory = sum(isinstance(job, TimeJob) for job in jobs)
    sorts = {(sort_of(batch), *_waits_for(batch[0])) for batch in batches}
    early = {sort for sort, *_ in sorts}
    return Starts(len(trainings), len(batches) + memory, len(sorts), len(early))


def _waits_for(job: Job) -> Iterator[Path]:
    """The weights that a job waits for until their training ends."""
    if isinstance(job, FolderJob) and job.subject.kind == "trained":
        yield job.inputs["weights"]


def _table(runs: Mapping[str, Sequence[Run]], what: str) -> Iterator[str]:
    shown = {way: found for way, found in runs.items() if found}
    if not shown:
        return
    names = {"alone": "a process for each job", "shared": "jobs done ahead"}
    yield f"{what}; {machine()}."
    yield ""
    yield (
        "| run | overhead | middle half | all, s | work, s | starts, s | processes | with torch | "
        "with a GPU | Snakemake, processor s | MB |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    for way, found in shown.items():
        low, high = quartiles([run.overhead for run in found])
        overhead = median(run.overhead for run in found)
        middle = " | ".join(f"{median(each):.0f}" for each in zip(*found, strict=True))
        yield f"| {names.get(way, way)} | {overhead:.0%} | {low:.0%} to {high:.0%} | {middle} |"
    yield ""


def _counted(files: Iterable[Path]) -> Iterator[str]:
    yield "Processes that open the GPU, counted from the plan of a report, and `snakemake -n`:"
    yield ""
    yield (
        "| config | trainings | besides, a process for each job | besides, jobs done ahead | "
        "dry run, processor s | MB |"
    )
    yield "|---|---|---|---|---|---|"
    for file in files:
        found, dry = count(file), dry_run(file)
        shared = f"{found.early} to {found.late}" if found.late > found.early else found.late
        yield (
            f"| {file.stem} | {found.trainings} | {found.alone} | {shared} | {dry.seconds:.1f} | "
            f"{dry.memory_mb:.0f} |"
        )
    yield ""


if __name__ == "__main__":
    typer.run(main)
