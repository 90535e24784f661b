"""Several processes train as one does, to the last bit; `member.py` is what each of them runs."""

import sys
from collections.abc import Callable
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest

from hitsr.base.errors import SpecError
from hitsr.records import TrainingRecord
from hitsr.training.processes import Processes
from hitsr.training.spawning import run_together

MEMBER = Path(__file__).with_name("member.py")
COUNTS = (2, 4)
BY = run_path(str(MEMBER))
results = BY["STEPS"]["results"]
Result = tuple[Any, ...]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trainings by two and by four processes; one was begun by one, and one by two."""
    folder = tmp_path_factory.mktemp("processes")
    said = BY["stopped"](folder / "begun by 1")
    assert said.startswith("hit_srf-x2-s1: step 10 of 20 is saved")
    for count in COUNTS:
        assert run_together([sys.executable, str(MEMBER), str(folder), "cpu"], count) == 0
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Result]:
    made: dict[str, Result] = {}

    def train(name: str) -> Result:
        if name not in made:
            out = tmp_path_factory.mktemp("alone")
            BY["work"](out, name)
            made[name] = results(out)
        return made[name]

    return train


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", BY["TRAININGS"])
def test_several_processes_give_the_bytes_of_one(
    folder: Path, alone: Callable[[str], Result], name: str, count: int
):
    out = folder / f"{count} processes" / name
    assert results(out) == alone(name)
    record = TrainingRecord.load(out / "record.json")
    assert [session.devices for session in record.sessions] == [count]


def test_a_step_that_is_not_finite_in_one_process_is_skipped_by_all(folder: Path):
    steps = [TrainingRecord.load(out / "record.json").skipped for out in folder.glob("*/poor")]
    assert len(steps) == len(COUNTS)
    assert {len(each) for each in steps} <= {*range(3, 18)}  # of 20; the rest is compared above
    assert steps[0] == steps[1]


def test_another_number_of_processes_goes_on_to_the_same_bytes(
    folder: Path, alone: Callable[[str], Result]
):
    for out, counts in (("begun by 1", [1, 4]), ("begun by 2", [2, 1])):
        if counts[-1] == 1:
            said: list[str] = []
            BY["work"](folder / out, "hit_srf", said=said)
        else:
            said = (folder / "said.txt").read_text().splitlines()
        assert results(folder / out) == alone("hit_srf")
        sessions = TrainingRecord.load(folder / out / "record.json").sessions
        found = [(each.devices, each.first_step, each.last_step) for each in sessions]
        assert found == [(counts[0], 1, 10), (counts[1], 11, 20)]
        assert (
            f"goes on from step 10 of 20; before: processes {counts[0]}, now {counts[1]}" in said[0]
        )


def test_parts_that_do_not_come_out_are_refused():
    with pytest.raises(SpecError, match="gpus: 3 does not divide the recipe's parts, 4"):
        Processes(0, 3).share(4)
    shares = [[*Processes(rank, 2).share(4)] for rank in range(2)]
    assert shares == [[0, 1], [2, 3]]
