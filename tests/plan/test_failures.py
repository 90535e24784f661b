"""Reasons of failures, as logs tell them."""

import os
from pathlib import Path

import pytest

from hitsr.base.errors import TO_BE_CONTINUED
from hitsr.plan.failures import (
    MARK,
    continued_in,
    failure_lines,
    failures,
    is_worth_repeating,
    reason_in,
)
from hitsr.plan.planning import Plan

BOX = """\
Usage: hitsr train [OPTIONS] [RUN]
Try 'hitsr train --help' for help.
╭─ Error ──────────────────╮
│ No such option: --bogus  │
│ Did you mean --bonus?    │
╰──────────────────────────╯
"""
TRACEBACK = 'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\nMemoryError\n'
BATCH = """\
hitsr: a-x2: cannot run: too wide
  and too deep
hitsr: b-x2: cannot run: too narrow
c-x2: 1.0 ms, median of 1
2 of 4 could not be measured
"""


@pytest.mark.parametrize(
    ("text", "status", "reason"),
    [
        ("1/9 done\nhitsr: data/a.png: damaged\n", 1, "data/a.png: damaged"),
        (
            "hitsr: 2 sets are missing:\n  data/a\n  data/b\n",
            1,
            "2 sets are missing: data/a data/b",
        ),
        (BOX, 2, "No such option: --bogus Did you mean --bonus?"),
        (TRACEBACK, 1, "MemoryError"),
        ("/bin/bash: line 1: hitsr: command not found\n", 127, "command not found"),
        ("1/9 done\n", 137, "it was killed, exit status 137 (SIGKILL), as the system does where"),
        ("1/9 done\n", 139, "it was killed, exit status 139 (SIGSEGV)"),
        ("", 137, "it was killed, exit status 137 (SIGKILL), as the system does where"),
        ("", 5, "it ended without a word, exit status 5"),
    ],
)
def test_the_reason_is_what_the_job_said_last(
    tmp_path: Path, text: str, status: int, reason: str
) -> None:
    log = tmp_path / "a.log"
    log.write_text(f"{text}{MARK}{status}\n")
    assert reason in (reason_in(log) or "")


@pytest.mark.parametrize("text", ["", "1/9 done\n", "hitsr: a notice\n", f"{MARK}1\nand more\n"])
def test_a_log_without_the_mark_is_of_no_failure(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.log").write_text(text)
    assert reason_in(tmp_path / "a.log") is None
    assert reason_in(tmp_path / "absent.log") is None


def test_jobs_that_share_a_log_have_reasons_of_their_own(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    names = ["a-x2", "b-x2", "c-x2", "d-x2"]
    log.write_text(f"{BATCH}{MARK}1\n")
    assert reason_in(log, "a-x2", names) == "cannot run: too wide and too deep"
    assert reason_in(log, "b-x2", names) == "cannot run: too narrow"
    log.write_text(f"{BATCH}{MARK}137\n")
    assert reason_in(log, "a-x2", names) == "cannot run: too wide and too deep"
    assert "SIGKILL" in (reason_in(log, "d-x2", names) or "")


def test_a_training_that_is_saved_did_not_fail(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text(f"1/9 done\nhitsr: a: step 1 of 9 is saved\n{MARK}{TO_BE_CONTINUED}\n")
    assert reason_in(log) is None
    assert continued_in(log) == "a: step 1 of 9 is saved"
    log.write_text(f"hitsr: no luck\n{MARK}1\n")
    assert continued_in(log) is None


@pytest.mark.parametrize(
    ("end", "here", "elsewhere"),
    [
        (f"{MARK}1", False, False),  # it said what is wrong
        (f"{MARK}137", True, True),
        (f"{MARK}{TO_BE_CONTINUED}", False, True),
        ("step 3", False, True),  # the machine is gone
    ],
)
def test_only_killed_jobs_are_worth_repeating(
    tmp_path: Path, end: str, here: bool, elsewhere: bool
) -> None:
    log = tmp_path / "a.log"
    log.write_text(f"step 1\n{end}\n")
    now = log.stat().st_mtime_ns
    assert is_worth_repeating(log, is_elsewhere=False, since_ns=now) == here
    assert is_worth_repeating(log, is_elsewhere=True, since_ns=now) == elsewhere
    # The same log of an earlier run says nothing of this one.
    assert not is_worth_repeating(log, is_elsewhere=False, since_ns=now + 1)
    assert is_worth_repeating(log, is_elsewhere=True, since_ns=now + 1)


@pytest.fixture
def plan(planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A plan whose job files are written, and nothing done."""
    monkeypatch.chdir(tmp_path)
    made: Plan = planned()
    for job in made.jobs:
        job.save(made.layout.job(job.kind, job.name))
    return made


def fail(plan: Plan, kind: str, name: str, text: str = "hitsr: no luck\n", status: int = 1) -> Path:
    log = plan.layout.log(kind, name)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(f"{text}{MARK}{status}\n")
    return log


def test_failed_jobs_are_found_by_their_logs_those_of_batches_too(plan: Plan) -> None:
    assert failures(plan, plan.jobs) == {}
    fail(plan, "train", "hit_sir-x2-s1")
    fail(plan, "latency", "latency_x2_cpu", "hitsr: mine-x2.cpu.own: bad luck\n")
    found = {path.name: failure.words for path, failure in failures(plan, plan.jobs).items()}
    log = "results/tiny/logs/train/hit_sir-x2-s1.log"
    assert found["record.json"] == f"train hit_sir-x2-s1 failed: no luck; its log is {log}"
    assert "latency mine-x2.cpu.own failed: bad luck;" in found["mine-x2.cpu.own.json"]


def test_the_log_of_a_job_before_it_was_changed_tells_nothing(plan: Plan) -> None:
    log = fail(plan, "train", "hit_sir-x2-s1")
    file = plan.layout.job("train", "hit_sir-x2-s1")
    os.utime(file, (log.stat().st_mtime + 9,) * 2)
    assert failures(plan, plan.jobs) == {}


def test_what_the_pipeline_tells_leaves_out_what_is_done(plan: Plan) -> None:
    done, lost = plan.layout.output("latency", "hit_sir-x2.cpu.fused"), "mine-x2.cpu.own"
    done.parent.mkdir(parents=True)
    done.touch()
    log = fail(plan, "latency", "latency_x2_cpu", f"hitsr: {lost}: bad luck\n")
    outputs = [str(done), str(plan.layout.output("latency", lost))]
    page = fail(plan, "report", "index")
    saved = fail(plan, "train", "hit_sir-x2-s1", "hitsr: step 1 is saved\n", TO_BE_CONTINUED)
    failed = [
        ("latency_x2_cpu", [str(log)], outputs),
        ("train", [str(saved)], ["record.json"]),
        ("report", [str(page)], ["index.html"]),
    ]
    assert failure_lines(plan, failed[1:2]) == ["1 to be continued:", "  step 1 is saved"]
    assert failure_lines(plan, failed) == [
        "1 to be continued:",
        "  step 1 is saved",
        "2 failed:",
        f"  latency {lost}: bad luck",
        f"    log: {log}",
        "  report: no luck",
        f"    log: {page}",
    ]
