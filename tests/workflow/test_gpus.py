"""The pipeline on pretended GPUs: what may run beside what, and what is done again after a kill.

Snakemake and leases are real. In the place of `hitsr` a program leases GPUs as it does, notes from
when to when it ran, and makes empty results.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from runpy import run_path
from typing import Any, NamedTuple
from uuid import uuid4

import psutil
import pytest
import yaml

from hitsr.base.leases import lease_devices

TOOLS = run_path(str(Path(__file__).with_name("test_pipeline.py")))
TINY: dict[str, Any] = TOOLS["TINY"]
LATENCY = {**TINY["efficiency"]["latency"], "device": "cuda"}
CONFIG = {
    **{key: TINY[key] for key in ("name", "title", "networks", "data", "lam")},
    "train": {
        **TINY["train"],
        "device": "cuda",
        "gpus": 2,
        "recipe": {**TINY["train"]["recipe"], "batch": 2, "parts": 2},
    },
    "efficiency": {**TINY["efficiency"], "latency": LATENCY},
}
GPUS, PLACES = 4, 2
RECORDS = [
    "results/tiny/records/quality/hr-x2.test.json",
    *(f"results/tiny/records/quality/{name}-x2-s1.test.json" for name in TINY["networks"]),
    *(f"results/tiny/lam/{name}-x2-s1.test/record.json" for name in TINY["networks"]),
]
LATER = [
    "results/tiny/records/quality/bicubic-x2.test.json",
    "results/tiny/records/complexity/hit_sir-x2.json",
    "results/tiny/records/latency/hit_sir-x2.cuda.fused.json",
]
# As `hitsr`, but without work. Maps do not end while there is a file called `stuck`.
VERB = """#!{python}
import json, os, sys, time
from pathlib import Path

verb, begun = sys.argv[1], time.monotonic_ns()
jobs = [json.loads(Path(file).read_text())
        for flag, file in zip(sys.argv, sys.argv[1:]) if flag == "--job"]
name, gpus = verb + " " + jobs[0]["name"], ""
if jobs[0].get("device") == "cuda":
    from hitsr.cli.pinning import take_gpus
    take_gpus("cuda", sys.argv[sys.argv.index("--lease") + 1])
    gpus = os.environ["CUDA_VISIBLE_DEVICES"]

def note(*words):
    with open("notes", "a") as file:
        file.write(";".join(map(str, words)) + "\\n")

leased = time.monotonic_ns()
note("begin", name)
time.sleep(0.05)
while verb == "lam" and Path("stuck").exists():
    time.sleep(0.01)
for job in jobs:
    output = Path(job["output"])
    if verb == "restore":
        output.mkdir(parents=True)
    else:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.touch()
    if verb == "train":
        for other in ("weights.safetensors", "log.jsonl"):
            (output.parent / other).touch()
note("end", name, begun, leased, time.monotonic_ns(), gpus)
"""


class Ran(NamedTuple):
    name: str
    begun: int
    leased: int
    ended: int
    gpus: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        return self.name.startswith(("train", "latency"))


@pytest.fixture(scope="module")
def names() -> list[str]:
    return [f"GPU-{uuid4()}" for _ in range(GPUS)]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> Path:
    """A folder in which a pipeline was killed while it made maps, and then finished."""
    folder: Path = TOOLS["copied"](tmp_path_factory.mktemp("gpus") / "copy")
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    put(folder / "tools/hitsr", VERB.format(python=sys.executable))
    listed = "".join(f"GPU {n}: Pretended (UUID: {name})\n" for n, name in enumerate(names))
    put(folder / "tools/nvidia-smi", f"#!/bin/sh\ncat <<'END'\n{listed}END\n")
    put(folder / "torch/version.py", "hip: str = '6.4'\n")
    put(
        folder / "torch/__init__.py",
        "class device(str):\n"
        "    def __new__(cls, kind, number=0): return super().__new__(cls, kind)\n"
        "    type = property(str)\n"
        "class cuda:\n"
        "    is_available = lambda: True\n"
        "    current_device = lambda: 0\n"
        f"    device_count = lambda: {GPUS}\n",
    )
    (folder / "stuck").touch()
    stopped = start(folder, RECORDS)
    while not is_stuck(folder):
        assert stopped.poll() is None
        time.sleep(0.02)
    pipeline = psutil.Process(stopped.pid)
    pipeline.suspend()
    for process in pipeline.children(recursive=True):
        process.kill()
    stopped.kill()
    stopped.wait()
    (folder / "notes").rename(folder / "notes before")
    (folder / "stuck").unlink()
    lease_devices(names, GPUS, print).places.close()  # which the killed jobs do not hold
    # With the jobs that were killed, others are ready that have not run yet.
    assert start(folder, RECORDS + LATER).wait() == 0, (folder / "said").read_text()
    return folder


def is_stuck(folder: Path) -> bool:
    """Whether only maps are at work, or jobs that just begin; of others Snakemake knows the end."""
    notes = folder / "notes"
    if not notes.is_file():
        return False
    ran, ended = beginnings(folder, "notes"), endings(folder, "notes")
    stuck = ran - {each.name for each in ended}
    told = (folder / "said").read_text().count("Finished jobid: ")
    return len(stuck) == 2 and all(name.startswith("lam") for name in stuck) and told == len(ended)


def put(file: Path, text: str) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)


def start(folder: Path, records: list[str]) -> "subprocess.Popen[bytes]":
    tools = [str(folder / "tools"), str(Path(sys.executable).parent), os.environ["PATH"]]
    paths = [str(folder), str(Path(__file__).parents[2])]
    more = {"PATH": os.pathsep.join(tools), "PYTHONPATH": os.pathsep.join(paths)}
    with (folder / "said").open("wb") as said:
        return subprocess.Popen(
            ["snakemake", "--cores", "4", "--workflow-profile", "workflow/profiles/gpu",
             *records, "--configfile", "config.yaml"],
            cwd=folder, stdout=said, stderr=said, env={**os.environ, **more},
        )  # fmt: skip


def beginnings(folder: Path, file: str) -> set[str]:
    lines = [line.split(";") for line in (folder / file).read_text().splitlines()]
    return {name for kind, name, *_ in lines if kind == "begin"}


def endings(folder: Path, file: str) -> list[Ran]:
    lines = [line.split(";") for line in (folder / file).read_text().splitlines()]
    return [
        Ran(name, int(begun), int(leased), int(ended), tuple(filter(None, gpus.split(","))))
        for kind, name, begun, leased, ended, gpus in (line for line in lines if line[0] == "end")
    ]


def test_nothing_runs_beside_a_timing(machine: Path) -> None:
    ran = endings(machine, "notes")
    (timing,) = (each for each in ran if each.name.startswith("latency"))
    assert len(timing.gpus) == 1
    others = [*ran, *endings(machine, "notes before")]
    others.remove(timing)
    assert {each.name.partition(" ")[0] for each in others} >= {"prepare", "quality", "restore"}
    assert not [each for each in others if each.begun < timing.ended and each.ended > timing.begun]


def test_each_job_sees_its_gpus_alone_or_shares_its_place(machine: Path, names: list[str]) -> None:
    ran = sorted(
        [*endings(machine, "notes"), *endings(machine, "notes before")], key=lambda r: r.leased
    )
    used = [each for each in ran if each.gpus]
    counts = {each.name.partition(" ")[0]: len(each.gpus) for each in used}
    assert counts == {"train": 2, "restore": 1, "lam": 1, "latency": 1}
    assert not [each for each in used if each.name.startswith(("restore bicubic", "restore hr-"))]
    for n, each in enumerate(used):
        assert {*each.gpus} <= {*names}
        for gpu in each.gpus:
            beside = [o for o in used[:n] if gpu in o.gpus and o.ended > each.leased]
            assert not beside if each.is_whole else len(beside) < PLACES
            assert not any(other.is_whole for other in beside)


def test_only_what_ran_is_done_again_after_a_kill(machine: Path) -> None:
    finished = {each.name for each in endings(machine, "notes before")}
    ran, again = (beginnings(machine, file) for file in ("notes before", "notes"))
    assert {name.partition(" ")[0] for name in finished} >= {"prepare", "train"}
    assert {name.partition(" ")[0] for name in ran - finished} == {"lam"}
    assert ran & again == ran - finished
