"""Names that are markup, formulas or code stay text on every page, table, figure and card."""

import csv
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest

from hitsr.cli import main
from hitsr.report.compare import compare_folders
from hitsr.report.compare_page import to_html
from hitsr.report.comparison import Tolerances
from hitsr.report.csv_tables import collect
from hitsr.report.index import write_index
from hitsr.share.model_card import model_card
from hitsr.specs.network import ScaledNetwork
from hitsr.specs.zoo import find
from hitsr.upscaling.gallery import gallery
from hitsr.upscaling.tasks import UpscaleTask
from hitsr.upscaling.user_pictures import UserPicture, encode

ROOT = Path(__file__).parents[2]
FOLDER = run_path(str(ROOT / "tests/report/conftest.py"))
# What HTML, SVG, Jinja, matplotlib, LaTeX, Markdown and spreadsheets could take for their own.
MARKUP = "=1+1\"><script>alert(1)<!--</title></svg>'&amp;<b onload=x>{{7*7}}$x^$ %_#~^|`x`[a](b)"
CODE = f"{MARKUP}\\input{{x}}\n\n\x1b[31m"  # where names of files are not meant
SET = re.sub("[/]", "\N{DIVISION SLASH}", MARKUP)  # a folder


NO_TOLERANCE = Tolerances(**dict.fromkeys(Tolerances.model_fields, 0.0))


class Page(HTMLParser):
    """The tags of a page, and the attributes that run code or lead elsewhere."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attributes:
            assert not name.startswith("on")
            if name in ("href", "src"):
                assert not re.match(r"\s*(javascript|data:text|https?):", value or "")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """Two results folders whose title, set, picture, device and versions have such names."""
    root = tmp_path_factory.mktemp("made")
    changes = FOLDER["EVERYTHING"] | {"title": MARKUP, "data__test": ["test", SET]}
    globals_of = FOLDER["Folder"].quality.__globals__
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals_of, "_SEEDS", {"brick": 0, SET: 1})
        defaults = FOLDER["Folder"].quality.__defaults__
        named = tuple(("brick", SET) if each == ("brick", "cat") else each for each in defaults)
        patch.setattr(FOLDER["Folder"].quality, "__defaults__", named)
        provenance = globals_of["PROVENANCE"]
        odd = {"device_name": CODE, "command": CODE, "versions": {CODE: CODE}, "commit": CODE}
        patch.setitem(globals_of, "PROVENANCE", provenance.model_copy(update=odd))
        config = FOLDER["make_config"](root / "data", **changes)
        folder = FOLDER["Folder"](config, root / "results" / "tiny").everything().extras()
        yield SimpleNamespace(folder=folder, report=folder.render(), root=root)


def test_pages_have_the_tags_of_their_templates_alone(made: SimpleNamespace) -> None:
    pages, templates = [*made.report.rglob("*.html")], ROOT / "reports/templates"
    write_index(made.root / "results", templates)
    pages.append(made.root / "results" / "index.html")
    other = made.root / "other"
    shutil.copytree(made.folder.path, other)
    compared = made.root / "compare.html"
    comparison = compare_folders(made.folder.path, other, NO_TOLERANCE)
    compared.write_text(to_html(comparison, templates), encoding="utf-8")
    shown = made.root / "gallery.html"
    picture = made.root / f"{SET[:80]}.png"
    samples = np.zeros((4, 4, 3), np.uint8)
    picture.write_bytes(encode(UserPicture(samples, None, None, "png"), "png", "a"))
    task = UpscaleTask(picture, picture, "png")
    shown.write_text(gallery([task], MARKUP, templates), encoding="utf-8")
    for page in (*pages, compared, shown):
        tags = Page(page).tags
        assert tags.count("script") <= 2
        assert tags.count("title") == 1
        assert "49" not in re.findall(r"\w+", page.read_text(encoding="utf-8").split("7*7")[0][-9:])
    assert "alert(1)" in made.report.joinpath("index.html").read_text(encoding="utf-8")


def test_figures_are_well_formed_and_show_names_as_they_are(made: SimpleNamespace) -> None:
    texts = ""
    for figure in made.report.rglob("*.svg"):
        root = ElementTree.parse(figure).getroot()
        assert not [each for each in root.iter() if each.tag.endswith(("script", "}b"))]
        texts += "".join(root.itertext())
    assert "{{7*7}}$x^$" in texts


def test_no_cell_of_a_table_is_a_formula(made: SimpleNamespace) -> None:
    collect(made.folder.path)
    cells = [
        cell
        for table in (*made.report.rglob("*.csv"), *made.folder.path.glob("tables/*.csv"))
        for row in csv.reader(table.read_text(encoding="utf-8").splitlines())
        for cell in row
    ]
    risky = [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert all(re.fullmatch(r"-[\d.]+(e-?\d+)?", cell) for cell in risky)
    assert f"'{SET}" in cells


def test_latex_reads_names_as_text(made: SimpleNamespace) -> None:
    for table in made.report.rglob("*.tex"):
        text = table.read_text(encoding="utf-8")
        assert r"\input" not in text
        assert not re.search(r"(?<!\\)%|\n\n", text)


def test_the_model_card_reads_names_as_text() -> None:
    folder = FOLDER["Folder"]
    made = folder.training.__globals__["PROVENANCE"].model_copy(update={"device_name": CODE})
    score = folder.quality.__globals__["PictureScore"](name="a", psnr_db=30.0, ssim=0.9)
    record = folder.quality.__globals__["QualityRecord"](
        subject="a", job_hash="0", provenance=made, method="hit_sir", dataset=SET, scale=2,
        border=2, signatures={"psnr": CODE, "ssim": "x"}, pictures=(score,),
    )  # fmt: skip
    subject = ScaledNetwork(network=find("hit_sir"), scale=2)
    card = model_card(subject, 1, "safetensors", 'a"\n```b', None, [record])
    assert 'from_pretrained("a\\"\\n```b")' in card
    (row,) = [line for line in card.splitlines() if "alert" in line and line.startswith("| ")]
    assert len(re.findall(r"(?<!\\)\|", row)) == 5
    assert "<" not in row
    assert "\\[a\\](b)" in row
    assert "\\`x\\`" in row


def test_what_the_command_line_says_moves_no_cursor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["hitsr", "compare", f"{tmp_path}/\x1b[2J\x07a", str(tmp_path)])
    with pytest.raises(SystemExit, match="2"):
        main()
    said = capfd.readouterr().err
    assert r"\x1b[2J\x07a" in said
    assert "\x1b" not in said
