"""Results that wait: records for the rest of their batch, folders for their turn."""

import json
from pathlib import Path

import pytest

from hitsr.plan import kept
from hitsr.plan.jobs import Job, RestoreJob
from hitsr.plan.kept import (
    begin,
    finish,
    forget_kept,
    is_kept,
    kept_file,
    publish_kept,
)


@pytest.fixture
def job(planned, tmp_path: Path) -> Job:
    """A timing whose record waits."""
    found: Job = planned().find("results/tiny/records/latency/hit_sir-x2.cpu.fused.json")
    found = found.model_copy(update={"output": tmp_path / "latency/a[1].json"})
    wait(found, found.hash)
    return found


def wait(job: Job, job_hash: str) -> None:
    kept_file(job).parent.mkdir(parents=True, exist_ok=True)
    kept_file(job).write_text(json.dumps({"job_hash": job_hash}))


def test_a_waiting_record_is_published_and_forgotten(job: Job) -> None:
    assert is_kept(job)
    assert job.output is not None
    publish_kept([job])
    assert json.loads(job.output.read_text()) == {"job_hash": job.hash}
    forget_kept([job])
    assert not is_kept(job)
    assert job.output.is_file()


@pytest.mark.parametrize("harm", ["other job", "other code", "damaged"])
def test_a_record_of_another_job_or_code_does_not_count(
    job: Job, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    match harm:
        case "other job":
            wait(job, "0123456789abcdef")
        case "damaged":
            kept_file(job).write_text("[")
        case _:
            monkeypatch.setattr(kept, "code_of", lambda _: "0" * 16)
    assert not is_kept(job)
    publish_kept([job])
    assert job.output is not None
    assert not job.output.exists()


@pytest.fixture
def pictures(planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RestoreJob:
    """A restore whose inputs are there, with one picture of an earlier result."""
    monkeypatch.chdir(tmp_path)
    found = planned().find("results/tiny/pictures/hit_sir-x2-s1.small")
    for path in found.inputs.values():
        path.parent.mkdir(parents=True)
        path.write_text("as it is")
    found.output.mkdir(parents=True)
    (found.output / "old.png").touch()
    return found


def test_a_folder_waits_until_it_is_published_as_a_whole(pictures: RestoreJob) -> None:
    assert pictures.output is not None
    working = begin(pictures).output
    assert working is not None
    (working / "a.png").touch()
    assert not is_kept(pictures)
    finish(pictures)
    assert is_kept(pictures)
    assert [path.name for path in pictures.output.iterdir()] == ["old.png"]
    publish_kept([pictures])
    assert [path.name for path in pictures.output.iterdir()] == ["a.png"]
    assert [*pictures.output.parent.glob(".kept/*/*")] == []


def test_pictures_of_a_killed_process_are_kept_for_equal_inputs_only(pictures: RestoreJob) -> None:
    for change, left in ((None, ["a.png"]), ("other weights", [])):
        folder = begin(pictures).output
        assert folder is not None
        (folder / "a.png").touch()
        if change:
            pictures.inputs["weights"].write_text(change)
        assert [path.name for path in (begin(pictures).output or folder).iterdir()] == left


def test_a_folder_made_of_other_inputs_does_not_count(pictures: RestoreJob) -> None:
    begin(pictures)
    finish(pictures)
    pictures.inputs["data"].write_text("another set")
    assert not is_kept(pictures)
    forget_kept([pictures])
    pictures.inputs["data"].write_text("as it is")
    assert not is_kept(pictures)
