import re

from hitsr.report.jobs import Job, drawn, jobs


def by_name(folder) -> dict[str, Job]:
    return {job.name: job for job in jobs(folder.evidence())}


def test_every_verb_with_records_is_a_job_that_waits_for_those_before_it(full):
    found = by_name(full)
    assert found["train"].extent == "2 records, 24\u202fs"
    assert found["train"].needs == ("prepare", "resolve")
    assert found["restore, quality"].needs == ("prepare", "train")
    assert found["complexity"].needs == ("resolve",)
    assert set(found["collect, report"].needs) == {"restore, quality", "complexity", "latency"}
    assert found["collect, report"].extent == "10 records"


def test_what_left_no_record_is_no_job(folder):
    folder.complexity("hit_sir")
    assert set(by_name(folder)) == {"prepare", "resolve", "complexity", "collect, report"}


def test_released_weights_wait_for_no_training(configured):
    changes = {"train": None, "weights": {"root": "weights", "scales": [2]}}
    folder = configured(**changes)
    folder.quality("bicubic-x2", "test", 30.0)
    assert by_name(folder)["restore, quality"].needs == ("prepare",)


def test_no_two_boxes_share_a_place_and_every_arrow_has_a_wire(full):
    found = jobs(full.evidence())
    assert len({(job.column, job.row) for job in found}) == len(found)
    svg = drawn(found)
    assert svg.count('class="wire"') == sum(len(job.needs) for job in found)
    assert svg.count("<rect") == len(found)


def test_the_drawing_says_in_words_what_it_shows(full):
    described = re.search('aria-label="([^"]*)"', drawn(jobs(full.evidence())))[1]
    assert "train, 2 records, 24\u202fs, after prepare and resolve" in described
