"""A training that was stopped ends in the bytes of one that was not."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
import torch
from torch import Tensor

from hitsr.base.errors import RecordError, ToBeContinuedError
from hitsr.records import LogLine, TrainingRecord
from hitsr.training.journal import Circumstances, Journal
from hitsr.training.stopping import watched

pytestmark = pytest.mark.usefixtures("_heard_signals")

STEPS = run_path(str(Path(__file__).with_name("test_step.py")))
TINY = STEPS["TINY"]
OFTEN = Circumstances(checkpoint_every=2)
Results = tuple[TrainingRecord, list[LogLine], bytes]


@pytest.fixture
def trained(tmp_path: Path) -> Callable[..., Results]:
    """Train 8 steps into a folder of this name; checkpoints come every second step."""

    def train(name: str, **options: Any) -> Results:
        found: Results = STEPS["trained"](
            tmp_path / name, **{"graph": False, "circumstances": OFTEN, **options}
        )
        return found

    return train


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Ask the training to end in this step."""
    plain = Journal.add

    def asking(self: Journal, number: int, result: Tensor) -> None:
        plain(self, number, result)
        if number == step:
            monkeypatch.setattr(Journal, "add", plain)
            ask()

    monkeypatch.setattr(Journal, "add", asking)


def ask(number: int = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


def comparable(results: Results) -> tuple[Any, ...]:
    """Record, log and weights but for clocks, sessions and what names them."""
    record, log, weights = results
    left_out = {"sessions", "provenance", "log_sha256"}
    return record.model_dump(exclude=left_out), log, weights


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ema": 0.9, "validated": "average"},
        {"parts": 2, "clip": 0.1, "warm_up": 3, "ema": 0.9},
        {"precision": "float16"},
        {"upsampler_only": 3},
        {"upsampler_only": 5, "parts": 2},  # which end at the checkpoint
        {"network": TINY["swinir_light"]},  # with stochastic depth
        {"network": TINY["swinir_light"], "parts": 2},
        {"log_every": 4, "validate_every": 8},  # the checkpoint lies between two lines
    ],
    ids=lambda options: ", ".join(options) or "plain",
)
def test_a_stopped_training_ends_in_the_bytes_of_one_that_was_not(
    monkeypatch: pytest.MonkeyPatch, trained: Callable[..., Results], options: dict[str, Any]
) -> None:
    whole = trained("whole", **options)
    stop_at(monkeypatch, 5)
    with pytest.raises(ToBeContinuedError, match=r"step 5 of 8 is saved; the same command goes on"):
        trained("stopped", **options)
    said: list[str] = []
    stopped = trained("stopped", said=said, **options)
    assert said == ["hit_sir-x2-s1: goes on from step 5 of 8"] or "network" in options
    assert comparable(stopped) == comparable(whole)
    sessions = [(each.first_step, each.last_step) for each in stopped[0].sessions]
    assert sessions == [(1, 5), (6, 8)]


@pytest.mark.parametrize("stop", [2, 4, 6])
def test_a_graph_that_is_captured_at_another_step_gives_the_same_bytes(
    monkeypatch: pytest.MonkeyPatch,
    graphs_on_cpu: Any,
    trained: Callable[..., Results],
    stop: int,
) -> None:
    options = {"network": TINY["swinir_light"], "ema": 0.9, "upsampler_only": 2, "steps": 12}
    whole = trained("whole", graph=True, **options)
    before = graphs_on_cpu.captures
    stop_at(monkeypatch, stop)
    with pytest.raises(ToBeContinuedError):
        trained("stopped", graph=True, **options)
    stopped = trained("stopped", graph=True, **options)
    assert graphs_on_cpu.captures > before
    assert stopped[0].graph
    assert comparable(stopped) == comparable(whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_what_asks_a_process_to_end_waits_for_the_block(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with watched() as is_asked_to_end:
        assert not is_asked_to_end()
        ask(number)
        assert is_asked_to_end()
    assert signal.getsignal(number) is before


def test_a_second_interrupt_ends_the_block() -> None:
    with watched() as is_asked_to_end:
        ask(signal.SIGINT)
        assert is_asked_to_end()
        with pytest.raises(KeyboardInterrupt):
            ask(signal.SIGINT)


def test_a_signal_that_the_process_ignores_is_ignored_still() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with watched() as is_asked_to_end:
            ask(signal.SIGHUP)
            assert not is_asked_to_end()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_in_the_last_step_finishes_the_training(
    monkeypatch: pytest.MonkeyPatch, trained: Callable[..., Results]
) -> None:
    whole = trained("whole")
    stop_at(monkeypatch, 8)
    assert comparable(trained("stopped")) == comparable(whole)


def test_what_differs_from_the_session_before_is_told(
    monkeypatch: pytest.MonkeyPatch, trained: Callable[..., Results]
) -> None:
    stop_at(monkeypatch, 5)
    with pytest.raises(ToBeContinuedError):
        trained("stopped", steps=6)
    torch.set_num_threads(2)
    said: list[str] = []
    trained("stopped", steps=6, said=said)
    assert said == ["hit_sir-x2-s1: goes on from step 5 of 6; before: threads 1, now 2"]


def test_a_training_that_other_code_repeats_goes_on_too_if_it_is_stopped(
    monkeypatch: pytest.MonkeyPatch, trained: Callable[..., Results]
) -> None:
    before = trained("same")
    monkeypatch.setattr("hitsr.training.loop.code_of", lambda _: "other")
    stop_at(monkeypatch, 5)
    said: list[str] = []
    with pytest.raises(ToBeContinuedError):
        trained("same", said=said)
    assert "was trained by other code of hitsr, and is trained anew" in said[0]
    again: list[str] = []
    assert comparable(trained("same", said=again)) == comparable(before)
    assert again == ["hit_sir-x2-s1: goes on from step 5 of 8"]


def test_a_changed_recipe_starts_anew_with_a_word(
    monkeypatch: pytest.MonkeyPatch, trained: Callable[..., Results]
) -> None:
    whole = trained("whole", learning_rate=2e-3)
    stop_at(monkeypatch, 5)
    with pytest.raises(ToBeContinuedError):
        trained("changed")
    said: list[str] = []
    changed = trained("changed", learning_rate=2e-3, said=said)
    assert comparable(changed) == comparable(whole)
    (word,) = said
    assert "of another training (run.recipe.learning_rate was 0.003, is 0.002); it is kept" in word


def test_a_damaged_checkpoint_costs_the_steps_since_the_one_before_and_no_byte(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trained: Callable[..., Results]
) -> None:
    whole = trained("whole")
    stop_at(monkeypatch, 5)
    with pytest.raises(ToBeContinuedError):
        trained("damaged")
    (newest,) = (tmp_path / "damaged/checkpoints").glob("00000005-*")
    os.truncate(newest, 99)
    said: list[str] = []
    damaged = trained("damaged", said=said)
    assert comparable(damaged) == comparable(whole)
    assert "it is set aside as " in said[0]
    assert said[1:] == ["hit_sir-x2-s1: goes on from step 4 of 8"]
    (last,) = (tmp_path / "damaged/checkpoints").iterdir()
    assert last.name.startswith("00000008-")


def test_checkpoints_of_other_tensors_are_told_and_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trained: Callable[..., Results]
) -> None:
    stop_at(monkeypatch, 5)
    with pytest.raises(ToBeContinuedError):
        trained("stopped")
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 12, 3, padding=1), torch.nn.PixelShuffle(2))
    with pytest.raises(RecordError, match="checkpoints of another version of hitsr"):
        trained("stopped", model=model)
    assert len(list((tmp_path / "stopped/checkpoints").iterdir())) == 2
