from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hitsr.runtime import trials
from hitsr.runtime.trials import chosen, fastest

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _nothing_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "_chosen", {})
    monkeypatch.setattr(trials, "_noted", {})


class Bench:
    """Two ways to double, and a clock that reads from a list how long each takes."""

    def __init__(self, **milliseconds: float) -> None:
        self.milliseconds, self.runs = milliseconds, dict.fromkeys(milliseconds, 0)
        self.now: str | None = None
        self.ways = {name: self._way(name) for name in milliseconds}

    def _way(self, name: str) -> Callable[[Tensor], Tensor]:
        def double(x: Tensor) -> Tensor:
            self.now = name
            self.runs[name] += 1
            return x + x

        return double

    def time(self, run: Callable[[], object], _: torch.device) -> float:
        run()
        assert self.now is not None
        return self.milliseconds[self.now]

    def choose(self, x: Tensor, margin: float = 0.0) -> str:
        way = fastest("double", self.ways, (x,), self.time, margin=margin)
        return next(name for name, each in self.ways.items() if each is way)


def test_the_fastest_way_is_tried_once_and_used_from_then_on():
    bench = Bench(own=3.0, other=2.0)
    x = torch.randn(100, 60)
    assert [bench.choose(x) for _ in range(3)] == ["other"] * 3
    assert bench.runs["own"] == bench.runs["other"] == trials._UNTIMED + trials._TIMED
    assert chosen(CPU) == {"double, 60 channels, float32, 64 rows or more": "other"}
    assert chosen(torch.device("meta")) == {}


def test_other_sizes_dtypes_and_gradients_are_other_questions():
    bench = Bench(own=1.0, other=2.0)
    x = torch.randn(100, 60)
    wanted = x.clone().requires_grad_()
    for each in (x, x[:99], x.double(), x[:40], torch.randn(100, 12), wanted):
        assert bench.choose(each) == "own"
    assert len(chosen(CPU)) == 5  # 100 and 99 rows are alike
    assert "double, 60 channels, float32, 64 rows or more, with gradients" in chosen(CPU)


def test_products_in_other_types_are_another_question(monkeypatch: pytest.MonkeyPatch):
    bench, x = Bench(own=1.0, other=2.0), torch.randn(100, 60)
    assert bench.choose(x) == "own"
    bench.milliseconds["own"] = 3.0
    with torch.autocast("cpu", torch.bfloat16):
        assert bench.choose(x) == "other"
    assert bench.choose(x) == "own"
    monkeypatch.setattr(trials, "uses_tf32", lambda: True)
    assert bench.choose(x) == "other"
    asked = "double, 60 channels, float32, 64 rows or more"
    assert chosen(CPU) == {
        asked: "own",
        f"{asked}, autocast to bfloat16": "other",
        f"{asked}, TF32 allowed": "other",
    }


def test_gradients_are_timed_too_and_leave_no_trace():
    bench = Bench(own=1.0, other=2.0)
    x = torch.randn(8, 4, requires_grad=True)
    bench.choose(x)
    assert x.grad is None


@pytest.fixture
def _deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("_deterministic")
def test_with_deterministic_algorithms_the_first_way_is_used_untimed():
    bench = Bench(own=3.0, other=2.0)
    assert bench.choose(torch.randn(8, 4)) == "own"
    assert not any(bench.runs.values())
    assert chosen(CPU) == {}


def test_nothing_is_tried_during_a_capture(monkeypatch: pytest.MonkeyPatch):
    bench, x = Bench(own=3.0, other=2.0), torch.randn(8, 4)
    monkeypatch.setattr(trials, "is_capturing", lambda: True)
    assert bench.choose(x) == "own"
    assert not any(bench.runs.values())
    monkeypatch.setattr(trials, "is_capturing", lambda: False)
    assert bench.choose(x) == "other"
    monkeypatch.setattr(trials, "is_capturing", lambda: True)
    assert bench.choose(x) == "other"


def test_a_way_that_memory_does_not_suffice_for_is_not_chosen():
    bench = Bench(own=3.0, other=2.0)

    def greedy(_: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("no memory")

    bench.ways["other"] = greedy
    assert bench.choose(torch.randn(8, 4)) == "own"


def test_on_a_cpu_the_first_way_is_used():
    bench = Bench(own=3.0, other=2.0)
    assert fastest("double", bench.ways, (torch.randn(8, 4),)) is bench.ways["own"]
    assert not any(bench.runs.values())


@pytest.mark.parametrize(("milliseconds", "way"), [(2.5, "other"), (2.7, "own"), (3.5, "own")])
def test_another_way_than_the_first_must_be_faster_by_the_margin(milliseconds: float, way: str):
    bench = Bench(own=3.0, other=milliseconds)
    assert bench.choose(torch.randn(8, 4), margin=0.15) == way


def test_choices_made_by_a_rule_are_named_too():
    trials.note("worked on at a time", "1024 KB", CPU)
    assert chosen(CPU) == {"worked on at a time": "1024 KB"}
    assert chosen(torch.device("meta")) == {}


def test_what_a_machine_chose_it_chooses_in_every_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("HITSR_CACHE", str(tmp_path))
    x = torch.randn(8, 4)
    for milliseconds in ({"own": 3.0, "other": 2.0}, {"own": 2.0, "other": 3.0}):
        monkeypatch.setattr(trials, "_chosen", {})  # as in another process
        bench = Bench(**milliseconds)
        assert fastest("double", bench.ways, (x,), bench.time, remember=True) is bench.ways["other"]
    assert not any(bench.runs.values())
