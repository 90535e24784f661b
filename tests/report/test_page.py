import shutil
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser

import pytest
import yaml

from hitsr.base.errors import DataError, RecordError
from hitsr.report import render
from hitsr.specs.config import Config

VOID = {"meta", "link", "img", "input", "wbr", "br"}


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


def rendered(folder, reports) -> str:
    out = folder.path / "report"
    render(folder.config, folder.path, reports, out)
    return (out / "index.html").read_text()


def test_the_page_is_well_formed_and_every_anchor_is_there(full, reports):
    page = Page(rendered(full, reports))
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)


def test_the_page_asks_no_other_machine_for_anything(full, reports):
    html = rendered(full, reports)
    assert not any("//" in link for link in Page(html).links if not link.startswith("data:"))
    assert "@import" not in html
    assert "url(http" not in html
    assert "fetch(" not in html


def test_files_that_the_page_links_lie_beside_it(full, reports):
    page = Page(rendered(full, reports))
    files = [link for link in page.links if not link.startswith(("#", "data:"))]
    assert "efficiency.csv" in files
    assert all((full.path / "report" / name).is_file() for name in files)
    assert (full.path / "report/figures/parameters.svg").is_file()
    assert (full.path / "report/figures/parameters.pdf").is_file()


def test_two_renders_give_the_same_bytes(full, reports):
    def everything():
        rendered(full, reports)
        files = (full.path / "report").rglob("*.*")
        return {path.name: path.read_bytes() for path in files}

    assert everything() == everything()


def test_the_warning_stands_before_any_measured_number(full, reports):
    text = Page(rendered(full, reports)).text
    assert 0 < text.index("This run cannot confirm") < text.index("Both networks")


def test_titles_are_escaped(full, reports):
    assert "<h1>A tiny &lt;report&gt; &amp; more</h1>" in rendered(full, reports)


def test_numbers_here_and_of_the_paper_stand_in_cells_of_their_own(full, reports):
    html = rendered(full, reports)
    assert '<td class="here gl" data-v="244.37">244.4' in html
    assert '<td class="paper" data-v="244.4">244.4' in html


def test_a_group_says_a_shared_unit_once_and_its_columns_say_the_others(full, reports):
    html = rendered(full, reports)
    assert 'colspan="3" scope="colgroup">Parameters <span class="u">K</span></th>' in html
    assert 'data-name="Parameters paper" class="">paper</th>' in html
    assert 'data-name="FLOPs here" class="gl">here</th>' in html
    assert 'colspan="4" scope="colgroup">test</th>' in html
    assert 'data-name="test PSNR" class="">PSNR <span class="u">dB</span></th>' in html


def test_a_reduced_run_is_warned_of_in_numbers(full, reports):
    text = " ".join(Page(rendered(full, reports)).text.split())
    for words in (
        "cannot confirm",
        "100 of 500 000 iterations",
        "7 training pictures, not 800",
        "groups of blocks 1 instead of 4",
        "2 pictures of “test”",
        "published size",
    ):
        assert words in text  # fmt: skip


def test_the_papers_budget_needs_no_warning(configured, reports):
    folder = configured(
        train__recipe__steps=500_000, train__recipe__batch=64, train__patch={}, data__train="DIV2K"
    )
    text = Page(rendered(folder, reports)).text
    assert "cannot confirm" not in text
    assert "Reduced run" not in text


def test_what_is_absent_is_said_and_never_nan(folder, reports):
    folder.complexity("hit_sir")
    text = Page(rendered(folder, reports)).text
    assert text.count("not run") > 5
    for words in (
        "No latency of this configuration",
        "No training of this configuration",
        "No picture of this configuration",
    ):
        assert words in text  # fmt: skip
    assert "nan" not in text.lower().split()
    assert "None" not in text


def test_an_empty_folder_still_makes_a_page(folder, reports):
    assert "not run" in Page(rendered(folder, reports)).text


def test_unpublished_sets_have_no_source_and_published_ones_are_not_judged(configured, reports):
    folder = configured(data__test=["test", "Set5"]).everything()
    text = Page(rendered(folder, reports)).text
    assert "no source" in text
    assert "not judged, other budget" in text
    assert "38.14" in text


def test_a_network_behind_bicubic_is_said_on_the_page(folder, reports):
    folder.everything({"bicubic": 30.0, "swinir_light": 29.0, "hit_sir": 31.0})
    text = Page(rendered(folder, reports)).text
    assert "Not ahead of bicubic within this budget: SwinIR-Light" in text


def test_a_command_checks_out_a_commit_only_if_it_made_every_record(full, reports):
    assert "git checkout 0123456789abcdef &amp;&amp; snakemake" in rendered(full, reports)
    path = full.path / "records/complexity/hit_sir-x2.json"
    path.write_text(path.read_text().replace('"dirty": false', '"dirty": true'))
    html = rendered(full, reports)
    assert "git checkout" not in html
    assert "No single clean commit" in html


def test_the_configuration_can_be_saved_from_the_page(full, reports):
    page = unescape(rendered(full, reports))
    start = page.index("name: tiny")
    text = page[start : page.index("</code>", start)]
    assert Config.parse(yaml.safe_load(text), "page") == full.config


def test_pages_of_comparisons_beside_the_report_are_linked(full, reports):
    assert not any("compare" in link for link in Page(rendered(full, reports)).links)
    (full.path / "report/compare.html").write_text("a page")
    assert "compare.html" in Page(rendered(full, reports)).links


def test_a_damaged_record_leaves_the_old_report_whole(full, reports):
    before = rendered(full, reports)
    (full.path / "records/complexity/hit_sir-x2.json").write_text("{}")
    with pytest.raises(RecordError):
        rendered(full, reports)
    assert (full.path / "report/index.html").read_text() == before


def test_a_broken_template_is_named(full, reports, tmp_path):
    copy = tmp_path / "reports"
    shutil.copytree(reports, copy)
    (copy / "templates/sections/quality.html").write_text("{{ section.no_such }}")
    with pytest.raises(DataError, match="templates"):
        rendered(full, copy)
    shutil.copy(reports / "templates/sections/quality.html", copy / "templates/sections")
    (copy / "templates/pictures.js").unlink()
    with pytest.raises(DataError, match=r"pictures\.js"):
        rendered(full, copy)


def test_the_report_loads_no_torch():
    code = "import sys, hitsr.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
