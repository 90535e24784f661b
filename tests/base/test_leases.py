"""Places on pretended devices, leased by real processes, some of which are killed."""

import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import pytest

from hitsr.base.leases import Lease, lease_devices, lease_place

PLACES = 2
# Leases this and that, and notes from when to when it holds what.
WORKER = f"""
import random, sys, time
from hitsr.base.leases import Lease, lease_devices, lease_place

seed, notes, *devices = sys.argv[1:]
chance = random.Random(seed)
for turn in range(12):
    count = chance.choice([0, 0, 0, *range(1, len(devices) + 1)])
    if count:
        lease = lease_devices(devices, count, lambda _: None)
    else:
        lease = lease_place(devices, {PLACES}, lambda _: None)
    line = f"{{seed}}-{{turn}} {{count}} {{','.join(lease.devices)}}"
    with lease.places, open(notes, "a", buffering=1) as file:
        file.write(f"begin {{time.monotonic_ns()}} {{line}}\\n")
        time.sleep(chance.random() / 100)
        file.write(f"end {{time.monotonic_ns()}} {{line}}\\n")
    time.sleep(chance.random() / 100)
"""


class Held(NamedTuple):
    begin: int
    end: int
    is_whole: bool


@pytest.fixture
def devices() -> list[str]:
    """Names that no other test of this machine uses."""
    return [f"GPU-{uuid4()}" for _ in range(3)]


def silent(_: str) -> None:
    pass


def test_a_job_takes_whole_devices_or_a_place_on_the_fullest(devices: list[str]) -> None:
    first = lease_place(devices, PLACES, pytest.fail)
    second = lease_place(devices, PLACES, pytest.fail)
    assert first.devices == second.devices
    third = lease_place(devices, PLACES, pytest.fail)
    assert third.devices != first.devices
    whole = lease_devices(devices, 1, pytest.fail)
    assert {*first.devices, *third.devices, *whole.devices} == {*devices}
    for lease in (first, second, third, whole):
        lease.places.close()
    with lease_devices(devices, 3, pytest.fail).places:
        pass


def test_a_job_waits_until_a_whole_device_is_free_and_others_are_not_held_meanwhile(
    devices: list[str],
) -> None:
    held = [lease_place([device], PLACES, pytest.fail) for device in devices[:2]]
    told: list[str] = []
    got: list[Lease] = []

    def wait() -> None:
        got.append(lease_devices(devices, 2, told.append))

    waiting = threading.Thread(target=wait)
    waiting.start()
    while not told:
        time.sleep(0.01)
    assert told == [f"waiting for 2 of {', '.join(devices)}: other jobs hold the rest"]
    with lease_devices(devices[2:], 1, silent).places:  # that is free, though one waits for two
        held[0].places.close()
        time.sleep(0.3)
        assert not got
    waiting.join()
    assert got[0].devices == (devices[0], devices[2])
    for lease in (held[1], *got):
        lease.places.close()


def test_nobody_shares_what_is_not_shared_whoever_is_killed(
    devices: list[str], tmp_path: Path
) -> None:
    chance = random.Random(3)
    notes, killed = tmp_path / "notes", dict[str, int]()
    running = [start(str(seed), notes, devices) for seed in range(6)]
    for victim in range(4):
        while not (notes.is_file() and f" {victim}-" in notes.read_text()):
            time.sleep(0.005)
        time.sleep(chance.random() / 50)
        process = running.pop(0)
        killed[str(victim)] = time.monotonic_ns()
        process.kill()
        process.wait()
        running.append(start(str(victim + 6), notes, devices))
    assert [process.wait(timeout=600) for process in running] == [0] * 6
    whole = 0
    for device in devices:
        held = sorted(found(notes, killed, device))
        for n, each in enumerate(held):
            beside = [other for other in held[:n] if other.end > each.begin]
            if each.is_whole or any(other.is_whole for other in beside):
                assert not beside
            assert len(beside) < PLACES
            whole += each.is_whole
    assert whole
    lease_devices(devices, 3, pytest.fail).places.close()


def start(seed: str, notes: Path, devices: list[str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", WORKER, seed, notes, *devices])


def found(notes: Path, killed: dict[str, int], device: str) -> Iterator[Held]:
    """When a device was held; a killed process held it until it was killed, or longer."""
    lines = [line.split(" ") for line in notes.read_text().splitlines()]
    ends = {name: int(when) for kind, when, name, *_ in lines if kind == "end"}
    for kind, when, name, count, held in lines:
        if kind == "begin" and device in held.split(","):
            end = ends.get(name) or killed[name.partition("-")[0]]
            yield Held(int(when), max(end, int(when)), count != "0")
