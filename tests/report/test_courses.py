import pytest

from hitsr.records import TrainingRecord
from hitsr.report.courses import SAME_BITS, course_lines, course_remarks, course_words
from hitsr.specs.config import runs


@pytest.fixture
def trained(folder):
    """Records of both networks; hit_sir's with these fields."""

    def make(**fields) -> list[TrainingRecord]:
        for run in runs(folder.config).values():
            folder.training(run, **(fields if run.network.name == "hit_sir" else {}))
        return folder.evidence().results.of(TrainingRecord)

    return make


def test_trainings_in_one_go_are_counted_and_need_no_remark(trained):
    records = trained()
    assert course_lines(records, 4) == ["2 trainings, each in one session on A CPU"]
    assert course_remarks(records) == []


def test_a_resumed_training_says_at_which_step_it_went_on_and_where(trained, new_session):
    sessions = (new_session(1, 50), new_session(51, 1200, device_name="A GPU", devices=4))
    records = trained(sessions=sessions, skipped=(7, 8))
    assert course_lines(records, 4) == [
        "swinir_light-x2-s1 in one session on A CPU",
        "hit_sir-x2-s1 in two sessions: steps 1 to 50 on A CPU, then 51 to 1\u202f200 on "
        "4\u00a0× A GPU; 2 steps skipped",
        SAME_BITS,
    ]
    assert course_remarks(records) == [
        "One of two trainings was stopped, and went on from a checkpoint.",
        SAME_BITS,
        "2 steps were skipped, as loss or gradient was not finite.",
    ]


def test_commits_are_said_where_they_differ(trained, new_session):
    sessions = (new_session(1, 50), new_session(51, 100, commit="f" * 40))
    record = trained(sessions=sessions)[1]
    assert "on A CPU, commit 0123456789, then 51 to 100 on A CPU, commit ffff" in course_words(
        record
    )


def test_long_lists_lead_to_the_table(trained, new_session):
    records = trained(sessions=(new_session(1, 50), new_session(51, 100)))
    assert course_lines(records, 1)[1] == "1 more, as in sessions.csv"


def test_of_an_older_record_nothing_is_said(trained):
    records = trained(sessions=())
    assert course_words(records[1]) == ""
    assert course_lines(records, 4) == ["swinir_light-x2-s1 in one session on A CPU"]
