import json
import re

from hitsr.report.job_graph import JobGroup, drawn, job_groups
from hitsr.specs.config import runs


def by_name(folder) -> dict[str, JobGroup]:
    return {box.name: box for box in job_groups(folder.evidence())}


def test_every_kind_of_job_waits_for_what_its_inputs_say(measured):
    found = by_name(measured)
    assert found["train"].needs == ("prepare",)
    assert found["restore, quality"].needs == ("prepare", "train")
    assert found["lam"].needs == ("prepare", "train")
    for name in ("complexity", "latency", "scaling", "scaling-time"):
        assert found[name].needs == ()
    assert set(found["report"].needs) == set(found) - {"prepare", "train", "report"}


def test_jobs_are_counted_with_the_time_that_they_took(finished):
    found = by_name(finished)
    assert found["train"].extent == "2 jobs, 24\u202fs"
    assert found["restore, quality"].extent == "8 jobs, 48\u202fs"  # restoring leaves no record
    assert found["report"].extent == f"{len(finished.plan.reported)} jobs"


def test_kinds_whose_jobs_share_names_keep_their_own_times(configured):
    folder = configured(lam={"sets": ["test"], "scales": [2]}, scaling={"samples": 2})
    for run in runs(folder.config).values():
        folder.lam(run, "test", 9.0, 9.0)
        folder.quality(run.name, "test", 30.0)
    folder.latency("hit_sir", 400.0)
    folder.scaling_time("hit_sir", 0.1, 1.0)
    for kind, name in (("lam", "hit_sir-x2-s1.test"), ("scaling_time", "hit_sir-x2.cpu.fused")):
        record = json.loads(folder.output(kind, name).read_text())
        folder.edit(kind, name, provenance=record["provenance"] | {"seconds": 100.0})
    found = {box.name: box.extent for box in job_groups(folder.evidence())}
    assert found["restore, quality"].endswith(", 24\u202fs")
    assert found["lam"] == "2 jobs, 1\u202fmin 52\u202fs"
    assert found["latency"].endswith(", 12\u202fs")
    assert found["scaling-time"].endswith(", 1\u202fmin 40\u202fs")


def test_what_was_not_run_is_counted_too(folder, measured):
    folder.complexity("hit_sir")
    found = by_name(folder)
    assert found["complexity"].extent == "1 of 2 jobs, 12\u202fs"
    assert found["train"].extent == "0 of 2 jobs, not run"
    variants = {
        job.name for job in measured.plan.asked_by("window_schedule") if job.kind == "train"
    }
    asked = {job.name for job in measured.plan.reported if job.kind == "train"}
    assert by_name(measured)["train"].extent.startswith(f"4 of {len(asked | variants)} jobs")


def test_released_weights_wait_for_no_training(configured):
    folder = configured(train=None, weights={"root": "weights", "scales": [2]})
    found = by_name(folder)
    assert found["restore, quality"].needs == ("prepare",)
    assert "train" not in found


def test_no_two_boxes_share_a_place_and_every_arrow_has_a_wire(measured):
    found = job_groups(measured.evidence())
    assert len({(box.column, box.row) for box in found}) == len(found)
    svg = drawn(found)
    assert svg.count('class="wire"') == sum(len(box.needs) for box in found)
    assert svg.count("<rect") == len(found)


def test_the_drawing_says_in_words_what_it_shows(evidence):
    described = re.search('aria-label="([^"]*)"', drawn(job_groups(evidence)))[1]
    assert "train, 2 jobs, 24\u202fs, after prepare" in described
