"""Kill a small real training at many moments, and let the same command go on: a program.

All lives are forked from one process that has loaded torch, since a start takes seconds. A life
runs `hitsr train --job`; some of its calls are events, and before one of these it gets a signal.
Prints one JSON object per killed training.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch._dynamo  # which Adam imports at first use, in more time than a life takes

from hitsr import cli
from hitsr.cli.doing import training
from hitsr.data.images import write_png
from hitsr.plan.jobs import TrainJob
from hitsr.records import TrainingRecord, read_log
from hitsr.specs.recipe import Recipe
from hitsr.specs.run import RunSpec
from hitsr.specs.zoo import NETWORKS
from hitsr.training import loop
from hitsr.training.step import TrainingStep

STEPS, EVERY = 10, 3  # of the training, and between its checkpoints
# Calls that are events, by the phase that they belong to. Each file is written, flushed, renamed.
PLACES: Mapping[str, tuple[tuple[Any, str], ...]] = {
    "loading": ((training, "degradation_of"), (training, "create")),
    "stepping": ((TrainingStep, "__call__"),),
    "validating": ((training, "upscale"),),
    "writing": ((Path, "write_bytes"), (os, "fsync")),
    "renaming": ((Path, "replace"),),
    "ending": (
        (loop, "save_weights"),
        (TrainingRecord, "save"),
        (loop, "delete_damaged"),
    ),
    "deleting": ((Path, "unlink"),),
}
SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP")


class Moment(NamedTuple):
    """Before the event of this number, from 0, of a phase; or after so many seconds."""

    number: int
    phase: str
    seconds: float


def prepare(folder: Path) -> Path:
    """Write two small pictures and the job of a training; the job's file."""
    noise = np.random.default_rng(0)
    for name in ("a", "b"):
        hr = noise.integers(0, 256, (24, 24, 3), np.uint8)
        write_png(folder / "data/set/HR" / f"{name}.png", hr)
        write_png(folder / "data/set/LR_bicubic/X2" / f"{name}x2.png", hr[::2, ::2].copy())
    changes = {
        "depths": [1], "windows.base": 4, "windows.ratios": [1], "width": 12, "mixer.heads": 2,
        "stochastic_depth": 0.5,
    }  # fmt: skip
    run = RunSpec(
        network=NETWORKS["swinir_light"].patch(changes), scale=2,
        data="set", validation="set", seed=1,
        recipe=Recipe(
            steps=STEPS, batch=1, patch=8, learning_rate=1e-3, log_every=2, validate_every=4,
            ema=0.9,
        ),
    )  # fmt: skip
    job = TrainJob(
        name=run.name, output=Path("out/record.json"), run=run, data=Path("data"),
        packs=Path("packs"), device="cpu", checkpoint_every=EVERY,
    )  # fmt: skip
    file = folder / "job.json"
    job.save(file)
    return file


def live(folder: Path, job: Path, before: Callable[[str], None], seconds: float, name: str) -> int:
    """Train in a process of its own; its exit status, negative if a signal ended it.

    `before` is called before each event, with its phase. After so many `seconds` it is killed.
    """
    child = os.fork()
    if not child:
        status = 1
        try:
            status = lived(folder, job, before)
        finally:
            os._exit(status)
    ends = time.monotonic() + seconds
    while not (found := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > ends:
            os.kill(child, getattr(signal, name))
            ends = float("inf")
        time.sleep(0.002)
    return os.waitstatus_to_exitcode(found[1])


def lived(folder: Path, job: Path, before: Callable[[str], None]) -> int:
    """Train in this process, whose words go to a file; its exit status."""
    os.chdir(folder)
    said = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)
    for phase, places in PLACES.items():
        for owner, attribute in places:
            watch(owner, attribute, phase, before)
    sys.argv = ["hitsr", "train", "--job", str(job)]
    try:
        cli.main()
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    finally:
        sys.stderr.flush()
    return 0


def watch(owner: Any, name: str, phase: str, before: Callable[[str], None]) -> None:
    plain = getattr(owner, name)

    def watched(*arguments: Any, **options: Any) -> Any:
        # What is deleted elsewhere, after the end, is a lock.
        if phase != "deleting" or arguments[0].parent.name in ("out", "checkpoints"):
            before(phase)
        return plain(*arguments, **options)

    setattr(owner, name, watched)


def results(folder: Path) -> tuple[Any, ...]:
    """Weights, log but for its clock, and record but for sessions and what names the clock."""
    out = folder / "out"
    record = TrainingRecord.load(out / "record.json")
    clocks = {"seconds": 0, "device_seconds": 0}
    log = [
        line.model_copy(update=clocks).model_dump() for line in read_log(out / "log.jsonl", record)
    ]
    said = record.model_dump(exclude={"sessions", "provenance", "log_sha256"})
    names = [*os.listdir(out), *(name[:8] for name in os.listdir(out / "checkpoints"))]
    return (out / "weights.safetensors").read_bytes(), log, said, sorted(names)


def main(folder: Path, seed: int, kills: int) -> None:
    torch.set_num_threads(1)
    chance = random.Random(seed)
    whole = folder / "whole"
    job = prepare(whole)
    read, write = os.pipe()
    start = time.monotonic()
    status = live(whole, job, lambda phase: os.write(write, f"{phase}\n".encode()), 1e9, "")
    took = time.monotonic() - start
    os.close(write)
    with os.fdopen(read) as file:
        events = file.read().splitlines()
    assert status == 0, (whole / "said").read_text()
    expected = results(whole)
    phases = [*PLACES, "any"]
    for number in range(kills):
        phase, name = phases[number % len(phases)], SIGNALS[number % len(SIGNALS)]
        moment = Moment(
            -1 if phase == "any" else chance.randrange(events.count(phase)),
            phase,
            chance.uniform(0, took) if phase == "any" else 1e9,
        )
        place = folder / str(number)
        job = prepare(place)
        first = live(place, job, before(place, moment, name), moment.seconds, name)
        second = first and live(place, job, before(place, moment, ""), 1e9, "")
        told = {
            "phase": phase, "event": moment.number, "seconds": moment.seconds, "signal": name,
            "first": first, "second": second, "said": (place / "said").read_text(),
            "taken": (place / "steps").read_text().count("x"),
        }  # fmt: skip
        same = second == 0 and results(place) == expected
        print(json.dumps(told | {"same": same}), flush=True)
        shutil.rmtree(place)


def before(folder: Path, moment: Moment, name: str) -> Callable[[str], None]:
    """Count steps, and send the signal at the moment."""
    seen = 0
    steps = os.open(folder / "steps", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def each(phase: str) -> None:
        nonlocal seen
        if phase == moment.phase:
            seen += 1
            if name and seen == moment.number + 1:
                os.kill(os.getpid(), getattr(signal, name))
        if phase == "stepping":
            os.write(steps, b"x")

    return each


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
