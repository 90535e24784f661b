"""The sums of an outlook, and its text, for a plan worked out by hand."""

from pathlib import Path

import pytest

from hitsr.cli.outlook_text import to_text
from hitsr.plan.durations import Machine
from hitsr.plan.outlook import Known, Outlook, outlook
from hitsr.plan.planning import make_plan
from hitsr.plan.rates import Rate, work_of
from hitsr.plan.reasons import steps_of
from hitsr.specs.config import Config, runs

CPU = "A CPU"
CONFIG = Config.model_validate(
    {
        "name": "seen",
        "title": "Seen ahead",
        "networks": ["hit_sir", "swinir_light"],
        "data": {
            "root": "data", "source": "folder", "train": "a", "validation": "a", "test": ["a"],
        },
        "train": {
            "scales": [2], "seeds": [1, 2], "device": "cpu",
            "recipe": {"steps": 7200, "batch": 1, "patch": 8, "learning_rate": 1e-3},
        },
        "efficiency": {
            "scales": [2], "output_size": [48, 32], "latency": {"scales": [2], "device": "cpu"},
        },
    }
)  # fmt: skip


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Outlook:
    """Steps of HiT-SIR take 2 s, those of SwinIR-Light are unknown; hours are of one core."""
    monkeypatch.chdir(tmp_path)
    plan = make_plan(CONFIG, {})
    work = work_of(runs(CONFIG)["hit_sir-x2-s1"])
    rate = Rate(work, CPU, 1, 1, 2.0, 1.5, 9, "table", "a page")
    machine = Machine(cpu=CPU, device=CPU, is_gpu=False, cores=1, gpus=0)
    known = Known(rates=[rate], took=[], sizes={}, parameters={})
    return outlook(plan, steps_of(plan, None, {}), machine, 1, known)


def test_sums_are_of_what_is_known_and_the_rest_is_counted(found: Outlook) -> None:
    rows = {row.kind: row for row in found.kinds}
    assert (rows["train"].to_do, rows["train"].unknown) == (4, 2)
    assert rows["train"].device_hours == found.device_hours == 2 * 7200 * 1.5 / 3600
    assert found.clock_hours == 2 * 7200 * 2.0 / 3600
    assert found.unknown == sum(row.to_do for row in found.kinds) - 2
    known, unknown = found.trainings
    assert (known.runs, known.steps) == (("hit_sir-x2-s1", "hit_sir-x2-s2"), 14_400)
    assert (known.device_seconds_per_step, known.source) == (1.5, "a page")
    assert (unknown.runs, unknown.device_hours) == (
        ("swinir_light-x2-s1", "swinir_light-x2-s2"),
        None,
    )
    assert found.longest_chain
    assert found.longest_chain.hours == 4
    assert [row.jobs.get("train", 0) for row in found.order] == [0, 4, 0, 0]


def test_text_fits_a_narrow_terminal_and_says_what_is_unknown(
    found: Outlook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = to_text(found)
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    words = " ".join(text.split())
    assert "Processor time: at least 6.0 h. By the clock: at least 8.0 h" in words
    assert "Not in it, since their time is unknown: 1 prepare, 2 train, " in words
    assert "a: from hitsr's table: a page" in words
    assert "nobody has measured such steps on this device; `--measure` times some now" in words
    assert "- was not made yet: 1 prepare, 4 train, " in words


def test_a_value_survives_json(found: Outlook) -> None:
    assert Outlook.model_validate_json(found.to_json()) == found
