"""A real small training, killed in every phase, ends in the bytes of one that was never stopped."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hitsr.base.errors import TO_BE_CONTINUED

pytestmark = pytest.mark.usefixtures("_heard_signals")

PROGRAM = Path(__file__).with_name("killed.py")
SEED, KILLS = 2026, 27
STEPS, EVERY = 10, 3  # as the program has them
# Exit statuses of what is ended before its first step.
ENDED = {
    "SIGKILL": {-9}, "SIGTERM": {-15, 143}, "SIGINT": {1, 130}, "SIGUSR1": {-10}, "SIGHUP": {-1},
}  # fmt: skip


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What became of each killed training."""
    done = subprocess.run(
        [sys.executable, PROGRAM, tmp_path_factory.mktemp("kills"), str(SEED), str(KILLS)],
        capture_output=True, text=True, timeout=1800,  # which only ends what hangs
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_killed_training_ends_in_the_same_bytes(lives: list[dict[str, Any]]) -> None:
    assert len(lives) == KILLS
    assert [each for each in lives if not each["same"]] == [], f"seed {SEED}"


def test_what_was_asked_to_end_after_its_first_step_is_saved_and_loses_no_step(
    lives: list[dict[str, Any]],
) -> None:
    ended = [each for each in lives if each["first"] == TO_BE_CONTINUED]
    saved = [each for each in ended if "asked to end outside its steps" not in each["said"]]
    assert len(saved) >= 3
    for each in saved:
        assert "is saved; the same command goes on from there\n" in each["said"]
        assert ": goes on from step " in each["said"]
        assert each["taken"] == STEPS, each


def test_a_kill_loses_at_most_the_steps_since_the_last_checkpoint(
    lives: list[dict[str, Any]],
) -> None:
    killed = [each for each in lives if each["signal"] == "SIGKILL"]
    assert len(killed) >= 5
    for each in killed:
        # A kill by the clock may find it after its end, and then it is repeated.
        assert each["taken"] <= STEPS + EVERY or each["phase"] == "any", each


def test_exit_statuses_tell_what_is_saved_from_what_had_not_begun(
    lives: list[dict[str, Any]],
) -> None:
    for each in lives:
        asked = {0, TO_BE_CONTINUED} if each["signal"] != "SIGKILL" else set()
        by_the_clock = {0} if each["phase"] == "any" else set()
        assert each["first"] in ENDED[each["signal"]] | asked | by_the_clock, each
