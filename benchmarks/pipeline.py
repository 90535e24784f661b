"""Measure what the pipeline costs besides the work of its jobs.

`python -m benchmarks.pipeline --out pipeline.md` runs the pipeline on a small config, one job at a
time: networks with random weights, two sets of small pictures, counts, timings and maps. Runs
in which every job has a process of its own alternate with runs in which processes do jobs ahead. A
process's start is what passes until hitsr's command line is imported, and what importing torch and
opening a GPU takes; the rest of its time is work, as is the server that measures memory on a CPU.
`--config FILE` counts processes that a config starts on a GPU, from its plan, without running it.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, Any, NamedTuple

import numpy as np
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
spent = {{"torch": 0.0, "gpu": 0.0}}
now = time.process_time if {clock!r} == "cpu" else lambda: time.time() - begun

def timed(name, function, *arguments):
    start = now()
    try:
        return function(*arguments)
    finally:
        spent[name] = now() - start

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

    spent["python"] = now()
    try:
        main()
    finally:
        spent.update({{"verb": sys.argv[1], "seconds": now()}})
        with open({log!r}, "a", encoding="utf-8") as file:
            print(json.dumps(spent), file=file)

if __name__ == "__main__":  # and not in the processes that measure memory
    verb()
"""


class Run(NamedTuple):
    """One run of the pipeline: seconds, and its processes."""

    total: float
    work: float  # of processes, without their starts
    starts: float  # of processes
    processes: int
    with_torch: int
    with_gpu: int

    @property
    def overhead(self) -> float:
        """The share of the time that is not the work of jobs."""
        return 1 - self.work / self.total


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
) -> None:
    """Run the pipeline in both ways in turns, count processes, and write tables."""
    networks = network or [*hitsr.NETWORKS]
    runs: dict[str, list[Run]] = {"alone": [], "shared": []}
    for _ in range(repeats):
        for way, found in runs.items():
            found.append(_run(networks, clock, alone=way == "alone"))
            print(way, found[-1], f"overhead {found[-1].overhead:.0%}", file=sys.stderr, flush=True)
    files = config or [ROOT / "configs" / f"{name}.yaml" for name in ("demo", "official", "paper")]
    out.write_text("\n".join([*_table(runs, networks, clock), *_counted(files)]), encoding="utf-8")


def _run(networks: list[str], clock: Clock, alone: bool) -> Run:
    with TemporaryDirectory() as name:
        folder = Path(name)
        _lay_out(folder, networks)
        tools, log = folder / "tools", folder / "processes.jsonl"
        tools.mkdir()
        verb = VERB.format(python=sys.executable, log=str(log), clock=str(clock))
        (tools / "hitsr").write_text(verb, encoding="utf-8")
        (tools / "hitsr").chmod(0o755)
        paths = os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = {**os.environ, "PATH": paths, "ALONE": "1" if alone else ""}
        start = _now(clock)
        subprocess.run(
            ["snakemake", "--cores", "1", "--configfile", "config.yaml"],
            cwd=folder, env=environment, check=True, capture_output=True,
        )  # fmt: skip
        total = _now(clock) - start
        processes = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    starts = sum(each["python"] + each["torch"] + each["gpu"] for each in processes)
    return Run(
        total,
        sum(each["seconds"] for each in processes) - starts,
        starts,
        len(processes),
        sum(each["torch"] > 0 for each in processes),
        sum(each["gpu"] > 0 for each in processes),
    )


def _now(clock: Clock) -> float:
    """Seconds of the wall clock, or of processors in all processes that have ended."""
    if clock is Clock.wall:
        return time.perf_counter()
    times = os.times()
    return times.children_user + times.children_system


def _lay_out(folder: Path, networks: list[str]) -> None:
    """The workflow's files, the config, sets of noise and random weights."""
    for name in ("workflow", "reports", "ablations"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "Snakefile", folder)
    (folder / "profiles").symlink_to("workflow/profiles")
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


def _table(
    runs: Mapping[str, Sequence[Run]], networks: Sequence[str], clock: Clock
) -> Iterator[str]:
    shown = {way: found for way, found in runs.items() if found}
    if not shown:
        return
    names = {"alone": "a process for each job", "shared": "jobs done ahead"}
    yield f"{', '.join(networks)}, {len(SETS)} sets, {clock} time; {machine()}."
    yield ""
    yield (
        "| way | overhead | middle half | run, s | work, s | starts, s | Snakemake, s | "
        "processes | with torch | with a GPU |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for way, found in shown.items():
        low, high = quartiles([run.overhead for run in found])
        middle = [median(each) for each in zip(*found, strict=True)]
        total, work, starts, *counts = middle
        rest = median(run.total - run.work - run.starts for run in found)
        overhead = median(run.overhead for run in found)
        yield (
            f"| {names[way]} | {overhead:.0%} | {low:.0%} to {high:.0%} | {total:.0f} | {work:.0f} "
            f"| {starts:.0f} | {rest:.0f} | {' | '.join(f'{each:.0f}' for each in counts)} |"
        )
    yield ""


def _counted(files: Iterable[Path]) -> Iterator[str]:
    yield "Processes that open the GPU, counted from the plan of a report:"
    yield ""
    yield "| config | trainings | besides, a process for each job | besides, jobs done ahead |"
    yield "|---|---|---|---|"
    for file in files:
        found = count(file)
        shared = f"{found.early} to {found.late}" if found.late > found.early else found.late
        yield f"| {file.stem} | {found.trainings} | {found.alone} | {shared} |"
    yield ""


if __name__ == "__main__":
    typer.run(main)
