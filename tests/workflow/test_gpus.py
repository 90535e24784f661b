"""The pipeline on pretended GPUs: what may run beside what, and what is done again after a kill.

Snakemake and leases are real. In the place of `hitsr` a program leases GPUs as it does, notes from
when to when it ran, and makes empty results.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from runpy import run_path
from typing import Any, NamedTuple
from uuid import uuid4

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
# As `hitsr`, but without work. A timing does not end while there is a file called `stuck`.
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
note("begin", name, os.getpid())
time.sleep(0.05)
while verb == "latency" and Path("stuck").exists():
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
    """A folder in which a pipeline was killed in its timing, and then finished, with four GPUs."""
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
    stopped = start(folder)
    while not (begun := [pid for name, pid in beginnings(folder) if name.startswith("latency")]):
        assert stopped.poll() is None
        time.sleep(0.02)
    time.sleep(1)  # in which others would begin if they could
    stopped.kill()
    stopped.wait()
    os.kill(int(begun[0]), signal.SIGKILL)
    (folder / "notes").rename(folder / "notes before")
    (folder / "stuck").unlink()
    lease_devices(names, GPUS, print).places.close()  # which the killed timing does not hold
    assert start(folder).wait() == 0, (folder / "said").read_text()
    return folder


def put(file: Path, text: str) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)


def start(folder: Path) -> "subprocess.Popen[bytes]":
    tools = [str(folder / "tools"), str(Path(sys.executable).parent), os.environ["PATH"]]
    paths = [str(folder), str(Path(__file__).parents[2])]
    records = [f"results/tiny/records/quality/{n}-x2.test.json" for n in ("bicubic", "hr")]
    for network in CONFIG["networks"]:
        records.append(f"results/tiny/records/quality/{network}-x2-s1.test.json")
        records.append(f"results/tiny/lam/{network}-x2-s1.test/record.json")
        records.append(f"results/tiny/records/latency/{network}-x2.cuda.fused.json")
        records.append(f"results/tiny/records/complexity/{network}-x2.json")
    more = {"PATH": os.pathsep.join(tools), "PYTHONPATH": os.pathsep.join(paths)}
    with (folder / "said").open("wb") as said:
        return subprocess.Popen(
            ["snakemake", "--cores", "4", "--workflow-profile", "workflow/profiles/gpu",
             *records, "--configfile", "config.yaml"],
            cwd=folder, stdout=said, stderr=said, env={**os.environ, **more},
        )  # fmt: skip


def beginnings(folder: Path, file: str = "notes") -> Iterator[tuple[str, str]]:
    if (folder / file).is_file():
        for line in (folder / file).read_text().splitlines():
            kind, name, pid, *_ = line.split(";")
            if kind == "begin":
                yield name, pid


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
    # Before the timing that was stuck all others ended, and none began after it.
    before = [name for name, _ in beginnings(machine, "notes before")]
    assert before[-1] == timing.name
    assert sorted(before[:-1]) == sorted(each.name for each in endings(machine, "notes before"))
    assert {each.name.partition(" ")[0] for each in others} >= {"prepare", "quality", "restore"}
    assert not [each for each in others if each.begun < timing.ended and each.ended > timing.begun]


def test_each_job_sees_its_gpus_alone_or_shares_its_place(machine: Path, names: list[str]) -> None:
    ran = sorted(
        [*endings(machine, "notes"), *endings(machine, "notes before")], key=lambda r: r.leased
    )
    used = [each for each in ran if each.gpus]
    counts = {each.name.partition(" ")[0]: len(each.gpus) for each in used}
    assert counts == {"train": 2, "restore": 1, "lam": 1, "latency": 1}
    assert not {"bicubic", "hr"} & {each.name.partition(" ")[2][:3].strip("-") for each in used}
    for n, each in enumerate(used):
        assert {*each.gpus} <= {*names}
        for gpu in each.gpus:
            beside = [o for o in used[:n] if gpu in o.gpus and o.ended > each.leased]
            assert not beside if each.is_whole else len(beside) < PLACES
            assert not any(other.is_whole for other in beside)


def test_only_what_ran_is_done_again_after_a_kill(machine: Path) -> None:
    finished = {each.name for each in endings(machine, "notes before")}
    ran = {name for name, _ in beginnings(machine, "notes before")}
    again = {name for name, _ in beginnings(machine)}
    assert finished
    assert {name.partition(" ")[0] for name in ran - finished} == {"latency"}
    assert ran & again == ran - finished
