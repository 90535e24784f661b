import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from hitsr.base.errors import DataError
from hitsr.report.sections.provenance import to_yaml
from hitsr.specs.config import runs

REPORTS = Path(__file__).parents[2] / "reports"

VOID = {"meta", "link", "img", "input", "wbr", "br"}


# Quantities that vary with the seed of a training.
OF_SEEDS = {"psnr_db", "ssim", "validation_psnr_db", "diffusion_index"}


class Page(HTMLParser):
    """Checks nesting while it reads; collects links, ids and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attributes:
            if name in ("src", "href", "srcset", "action"):
                self.links.append(value)
            if name == "id":
                self.ids.append(value)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data.strip())

    @property
    def text(self) -> str:
        return " ".join(filter(None, self.words)).replace("\u202f", " ").replace("\u00a0", " ")


def html_of(report: Path) -> str:
    return (report / "index.html").read_text()


@pytest.fixture(scope="module")
def html(page) -> str:
    """Of two networks with one seed, finished."""
    return html_of(page)


@pytest.fixture(scope="module")
def every(measured) -> Page:
    """Of a run with every kind of record, two seeds, and an ablation that was not trained."""
    return Page(html_of(measured.render()))


def test_every_kind_of_page_is_well_formed_and_every_anchor_is_there(html, every):
    for page in (Page(html), every):
        assert len(page.ids) == len(set(page.ids))
        assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)


def test_the_page_asks_no_other_machine_for_anything(html):
    assert not any("//" in link for link in Page(html).links if not link.startswith("data:"))
    assert "@import" not in html
    assert "url(http" not in html
    assert "fetch(" not in html


def test_files_that_the_page_links_lie_beside_it(page, html, measured, every):
    for folder, found in ((page, Page(html)), (measured.plan.layout.report, every)):
        files = [link for link in found.links if not link.startswith(("#", "data:"))]
        assert "efficiency.csv" in files
        assert all((folder / name).is_file() for name in files)
    assert (page / "figures/parameters.svg").is_file()
    assert (page / "figures/parameters.pdf").is_file()


@pytest.mark.usefixtures("every")
def test_two_renders_give_the_same_bytes(measured):
    def everything():
        files = measured.plan.layout.report.rglob("*.*")
        return {path: path.read_bytes() for path in files}

    first = everything()
    measured.render()
    assert first == everything()


def test_the_ledger_comes_first_and_links_to_evidence(html, evidence):
    assert html.index('<section id="claims">') < html.index('<section id="efficiency">')
    assert html.count('<li id="claim-') == len(evidence.claims)
    assert html.index("<h3>Not testable here</h3>") < html.index('<li id="claim-psnr_printed"')
    assert '<a href="#efficiency">evidence' in html
    assert '<a href="#quality">evidence' in html


def test_titles_are_escaped(html):
    assert "<h1>A tiny &lt;report&gt; &amp; more</h1>" in html


def test_numbers_here_and_of_the_paper_stand_in_cells_of_their_own(html):
    assert '<td class="here gl" data-v="244.37">244.4' in html
    assert '<td class="paper" data-v="244.4">244.4' in html


def test_a_group_says_a_shared_unit_once_and_its_columns_say_the_others(html):
    assert 'colspan="3" scope="colgroup">Parameters <span class="u">K</span></th>' in html
    assert 'data-name="Parameters paper" class="">paper</th>' in html
    assert 'data-name="FLOPs here" class="gl">here</th>' in html
    assert 'colspan="4" scope="colgroup">test</th>' in html
    assert 'data-name="test PSNR" class="">PSNR <span class="u">dB</span></th>' in html


def test_a_reduced_run_is_warned_of_in_numbers_before_any_is_shown(html):
    text = " ".join(Page(html).text.split())
    assert 0 < text.index("This run cannot confirm") < text.index("Two networks, reduced in size")
    for words in (
        "cannot confirm",
        "100 of 500 000 iterations",
        "7 training pictures, not 800",
        "groups of blocks 1 instead of 4",
        "2 pictures of “test”",
        "published size",
    ):
        assert words in text  # fmt: skip


def test_a_finished_run_says_so_and_one_with_missing_jobs_never_does(html, every):
    assert "every job of this report has its output" in Page(html).text
    assert "every job of this report has its output" not in every.text
    assert re.search(r"train, \d+ not run: hit_sir\.", every.text)


def test_one_seed_shows_no_interval_that_could_be_the_truths(html, page, evidence):
    text = Page(html).text
    explained = text.index("What each number means")
    assert "interval over" not in text[:explained].replace("half the 95 % interval over them", "")
    assert "what another seed would give is not known" in text
    for panel in (page / "figures").glob("*.svg"):
        assert "95 % interval" not in panel.read_text()
    claims = pd.read_csv(page / "claims.csv")
    names = [c.id for c in evidence.claims if c.basis == "records" and OF_SEEDS & {*c.quantities}]
    found = claims[claims.claim.isin(names) & claims.here.notna()]
    assert len(found) >= 3
    assert found.here_low.isna().all()
    assert found.here_high.isna().all()


def test_one_seed_of_an_ablation_and_of_maps_says_what_its_intervals_are_over(configured):
    folder = configured(lam={"sets": ["test"], "scales": [2]}, ablations=["heads"]).everything()
    for shift, name in enumerate(
        r.name for row in folder.plan.ablations["heads"] for r in row.runs
    ):
        folder.quality(name, "test", (31.0 + shift / 10, 32.0))
    for run in runs(folder.config).values():
        folder.lam(run, "test", *((9.0, 14.0) if "swin" in run.name else (20, 22)))
    text = Page(html_of(folder.render())).text
    whiskers = "lines 95 % intervals (over pictures alone, of one seed)"
    for words in (whiskers, "over pictures alone: of one seed", "over pictures alone, one seed"):
        assert words in text
    assert "over seeds and pictures; squares" not in text


def test_the_papers_budget_needs_no_warning(papers):
    text = Page(html_of(papers().render())).text
    assert "cannot confirm" not in text
    assert "Reduced run" not in text


def test_what_is_absent_is_said_and_never_nan(folder):
    folder.complexity("hit_sir")
    text = Page(html_of(folder.render())).text
    assert text.count("not run") > 5
    for words in (
        "No latency of this configuration",
        "No training of this configuration",
        "No picture of this configuration",
    ):
        assert words in text  # fmt: skip
    assert "nan" not in text.lower().split()
    assert "None" not in text


def test_an_empty_folder_still_makes_a_page(folder):
    assert "not run" in Page(html_of(folder.render())).text


def test_unpublished_sets_have_no_source_and_published_ones_are_not_judged(every):
    assert "no source" in every.text
    assert "not judged: 100 of 500" in every.text
    assert "38.14" in every.text


def test_a_page_of_one_network_speaks_of_it_by_name(configured):
    sets = ["Set5", "Set14", "B100", "Urban100"]
    folder = configured(
        networks=["hit_srf"], train=None, weights={"root": "weights", "scales": [4]},
        data__train=None, data__validation=None, data__test=sets,
    )  # fmt: skip
    for dataset in sets:
        folder.quality("bicubic-x4", dataset, (24.0,), pictures=("one",))
        folder.quality("hit_srf-x4", dataset, (28.0,), pictures=("one",))
    text = Page(html_of(folder.render())).text
    assert "HiT-SRF beats bicubic on every set" in text
    assert "can be tested on HiT-SRF" in text
    assert "the one network" not in text
    assert "GASSL-B 36.16" not in text


def test_pages_of_comparisons_beside_the_report_are_linked(folder):
    report = folder.render()
    assert not any("compare" in link for link in Page(html_of(report)).links)
    (report / "compare.html").write_text("a page")
    folder.render()
    assert "compare.html" in Page(html_of(report)).links


def test_a_damaged_record_costs_its_own_numbers_only_and_is_told(full):
    broken = full.output("complexity", "hit_sir-x2")
    broken.write_text("{}")
    page = Page(html_of(full.render()))
    assert page.text.count(f"{broken}: not a record") >= 2  # at the top, and below its table
    assert "1 file of the results cannot be used" in page.text
    assert "31.00" in page.text


def test_doubtful_trainings_are_told_before_any_number(full, new_gate, html):
    assert "doubtful" not in html[: html.index('class="abstract"')]
    run = runs(full.config)["hit_sir-x2-s1"]
    full.training(run, gates=(new_gate(50, 31.0, 30.5, source="log of <its> author"),))
    shown = html_of(full.render())
    above = shown[: shown.index('class="abstract"')]
    assert "What came of 1 training is doubtful." in above
    assert "hit_sir-x2-s1: PSNR at step 50 was 30.500 dB" in above
    assert '<td class="paper text gl">log of &lt;its&gt; author</td>' in shown
    assert "gate missed" in shown
    assert "gate missed" not in html


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("train", "hit_sir-x2-s1"),
        ("quality", "hit_sir-x2-s1.test"),
        ("complexity", "hit_sir-x2"),
        ("latency", "hit_sir-x2.cpu.fused"),
    ],
)
def test_a_failed_job_is_told_with_reason_and_log_until_it_is_done(full, kind, name):
    output = full.output(kind, name)
    before, done = Page(html_of(full.render())).text, output.read_bytes()
    log = full.fail(kind, name, "out of luck.")
    if kind == "train":  # whose scores are then missing too
        full.output("quality", f"{name}.test").unlink()
        shutil.rmtree(full.output("restore", f"{name}.test"), ignore_errors=True)
    page = Page(html_of(full.render()))
    told = f"{kind} {name} failed: out of luck; its log is {log}"
    assert "1 job failed. Numbers that need them are missing below." in page.text
    assert page.text.count(told) >= 3  # at the top, below its table, and under Provenance
    if kind == "train":
        full.everything()
    output.write_bytes(done)
    assert Page(html_of(full.render())).text == before


def test_a_job_that_was_stopped_with_the_pipeline_is_not_run(full):
    log = full.fail("train", "hit_sir-x2-s1", "out of luck")
    log.write_text("train hit_sir-x2-s1: 3/9 step\n")
    page = Page(html_of(full.render()))
    assert "failed" not in page.text
    assert "train, 1 not run: hit_sir-x2-s1" in page.text


def test_claims_say_which_failure_left_them_untested(full):
    full.fail("complexity", "hit_sir-x2", "out of luck")
    html = html_of(full.render())
    claims = html[html.index('id="claims"') : html.index('id="quality"')]
    assert "Complexity hit_sir-x2 failed: out of luck" in claims


def test_a_broken_template_is_named(folder, reports, tmp_path):
    copy = tmp_path / "reports"
    shutil.copytree(reports, copy)
    (copy / "templates/sections/quality.html").write_text("{{ section.no_such }}")
    with pytest.raises(DataError, match="templates"):
        folder.render(copy)
    shutil.copy(reports / "templates/sections/quality.html", copy / "templates/sections")
    (copy / "templates/pictures.js").unlink()
    with pytest.raises(DataError, match=r"pictures\.js"):
        folder.render(copy)


def test_rendering_loads_no_torch(finished, html, tmp_path):
    """From a results folder on a laptop: what reads and draws never imports it."""
    config = tmp_path / "tiny.yaml"
    config.write_text(to_yaml(finished.config))
    code = f"""
import sys
from pathlib import Path
import hitsr.report.page
from hitsr.plan.planning import make_plan
from hitsr.report import render
from hitsr.specs.config import Config
hitsr.report.page.to_pdf = lambda _: b"%PDF"
plan = make_plan(Config.read(Path({str(config)!r})), {{}}, Path({str(finished.path)!r}))
render(plan, Path({str(REPORTS)!r}), Path({str(tmp_path / "report")!r}))
sys.exit("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert html_of(tmp_path / "report") == html


def test_a_page_of_own_networks_alone_speaks_of_nothing_else(configured):
    own = {"mine": {"source": "examples/own_network.py:build", "scales": [2]}}
    folder = configured(
        own=own, networks=[], train=None, data__train=None, data__validation=None
    )  # fmt: skip
    folder.quality("bicubic-x2", "test", 30.0)
    folder.quality("mine-x2", "test", 31.0)
    text = Page(html_of(folder.render())).text
    assert "own networks ×2" in text
    assert "Costs of each network." in text
    for words in ("released weights", "as released", "networks and seeds", "published size, output",
                  "Published size", "each conversion beside its baseline"):  # fmt: skip
        assert words not in text.split("Protocol")[0], words
