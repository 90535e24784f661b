import shutil
from pathlib import Path

import pytest

from hitsr.base.errors import DataError
from hitsr.report.index import Summary, runs, write_index


@pytest.fixture
def results(page, tmp_path) -> Path:
    """A folder with one finished report, one run without, and what is neither."""
    folder = tmp_path / "all"
    (folder / "tiny/report").mkdir(parents=True)
    for name in ("index.html", "summary.json"):
        shutil.copy(page / name, folder / "tiny/report" / name)
    (folder / "begun/records/quality").mkdir(parents=True)
    (folder / "begun/records/quality/hit_sir-x2-s1.test.json").write_text("{}")
    (folder / "empty").mkdir()
    return folder


def listing(results: Path, reports: Path) -> str:
    write_index(results, reports / "templates")
    return (results / "index.html").read_text()


def test_a_report_says_of_itself_what_its_config_and_records_say(finished, results):
    summary = Summary.load(results / "tiny/report")
    assert summary.name == finished.config.name
    assert summary.networks == ("SwinIR-Light", "HiT-SIR")
    assert summary.budget == "100 of 500\u202f000 iterations, reduced in size"
    assert summary.records == len(finished.evidence().results.records)


def test_runs_are_folders_with_a_report_or_records(results):
    assert [(run.folder, run.records, run.summary is None) for run in runs(results)] == [
        ("begun", 1, True),
        ("tiny", 0, False),
    ]


def test_hidden_files_are_no_records(tmp_path):
    for place in (".trash/records/latency/a.json", "demo/records/latency/._a.json"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_text("{}")
    assert runs(tmp_path) == []


def test_the_index_links_each_report_comparison_and_ablation(results, reports):
    (results / "compare-a-b.html").write_text("a page")
    (results / "tiny/report/compare.html").write_text("a page")
    (results / "tiny/report/ablations").mkdir()
    (results / "tiny/report/ablations/heads.html").write_text("a page")
    html = listing(results, reports)
    for name in (
        "tiny/report/index.html",
        "compare-a-b.html",
        "tiny/report/compare.html",
        "tiny/report/ablations/heads.html",
    ):
        assert f'href="{name}"' in html
    assert "1 report of 2 runs" in html
    assert "A tiny &lt;report&gt; &amp; more" in html
    assert "No report yet" in html


def test_the_same_summaries_give_the_same_bytes(results, reports):
    assert listing(results, reports) == listing(results, reports)


def test_a_folder_without_runs_says_so(tmp_path, reports):
    assert "No folder here holds a report" in listing(tmp_path, reports)


def test_a_summary_of_another_version_is_named(results, reports):
    (results / "tiny/report/summary.json").write_text('{"name": "tiny", "colour": "red"}')
    with pytest.raises(DataError, match="rerun `hitsr report`"):
        listing(results, reports)
