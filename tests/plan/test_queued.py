"""What an earlier pipeline has left in Slurm's queue."""

import os
from pathlib import Path

import pytest

from hitsr.plan.queued import left_in_queue


def answer(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    (folder / "squeue").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_only_jobs_for_the_same_results_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = "hitsr_1f0a93bc", "hitsr_7b21c004"
    names = f"'7 {mine}_0b1c\\n8 {other}_0b1c\\n9 {mine}_22aa\\n10 my job\\n'"
    answer(tmp_path, monkeypatch, f"printf {names}")
    told = left_in_queue(mine) or ""
    assert told.startswith("2 jobs of an earlier pipeline for these results")
    assert "(`scancel 7 9`)" in told
    assert left_in_queue("hitsr_33333333") is None


def test_a_slurm_that_does_not_answer_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(tmp_path, monkeypatch, "exit 1")
    assert (left_in_queue("hitsr_0") or "").startswith("squeue, which tells")
