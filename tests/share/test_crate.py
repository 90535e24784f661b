"""What is packed, and who made it; `tests/workflow/test_keeping.py` packs real results."""

from datetime import date
from pathlib import Path

import pytest

from hitsr.base.errors import SpecError
from hitsr.plan.jobs import RestoreJob
from hitsr.plan.layout import Layout
from hitsr.plan.subjects import ControlMethod
from hitsr.share.crate import (
    METADATA,
    Author,
    Chosen,
    Described,
    License,
    content_of,
    naming_folders,
    pack,
)
from hitsr.specs.config import Config

CONFIG = {
    "name": "demo",
    "title": "Demo",
    "networks": ["hit_sir"],
    "own": {
        "mine": {"source": "code/mine.py:build", "scales": [2]},
        "theirs": {"source": "spandrel:theirs.pth", "scales": [2]},
    },
    "data": {"root": "data", "source": "folder", "test": ["a"]},
    "efficiency": {"scales": [2], "latency": {"scales": [2], "device": "cpu"}},
}
DESCRIBED = Described(
    (Author("A", None),), License.parse("CC0-1.0"), date(2026, 1, 2), "Demo", "", ""
)


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A results folder that got another name, and what lies beside it."""
    monkeypatch.chdir(tmp_path)
    for name in (
        *("renamed/config.yaml", "renamed/records/quality/a.json", "renamed/logs/train/a.log"),
        *("renamed/weights/a/weights.safetensors", "renamed/weights/a/log.jsonl"),
        *("renamed/weights/a/checkpoints/1.safetensors", "renamed/pictures/a/ü {x}.png"),
        *("renamed/seen/a.json", "code/mine.py", "theirs.pth", "data/a/HR/a.png"),
        *("pipeline/Snakefile", "pipeline/rules/a.smk", "first/a.yaml", "second/a.yaml"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return Layout(Path("renamed"))


def chosen(layout: Layout, weights: bool = True, pictures: bool = False) -> dict[str, Path]:
    folders = {"workflow": [Path("pipeline")], "ablations": [Path("first"), Path("second")]}
    config = Config.parse(CONFIG, "test")
    content = content_of(layout, config, Chosen(weights, pictures), folders)
    assert content.results == "results/demo"
    return dict(content.files)


def test_all_is_packed_but_pictures_checkpoints_and_what_others_made(layout: Layout) -> None:
    files = chosen(layout)
    assert [*files] == [
        "ablations/a.yaml",
        "code/mine.py",
        "results/demo/config.yaml",
        "results/demo/logs/train/a.log",
        "results/demo/records/quality/a.json",
        "results/demo/weights/a/log.jsonl",
        "results/demo/weights/a/weights.safetensors",
        "workflow/Snakefile",
        "workflow/rules/a.smk",
    ]
    assert files["ablations/a.yaml"] == Path("second/a.yaml")  # the one that counts


def test_weights_and_pictures_are_packed_as_one_chooses(layout: Layout) -> None:
    usual = chosen(layout).keys()
    assert usual - chosen(layout, weights=False).keys() == {
        "results/demo/weights/a/weights.safetensors"
    }
    assert chosen(layout, pictures=True).keys() - usual == {"results/demo/pictures/a/ü {x}.png"}


def test_an_archive_replaces_a_file_and_no_folder(layout: Layout, tmp_path: Path) -> None:
    folders = {"workflow": [Path("pipeline")]}
    content = content_of(layout, Config.parse(CONFIG, "test"), Chosen(True, True), folders)
    (tmp_path / "a.zip").write_text("an older one")
    pack(content, tmp_path / "a.zip", DESCRIBED, [], [])
    assert (tmp_path / "a.zip").read_bytes()[:2] == b"PK"
    with pytest.raises(SpecError, match="renamed: is there already; delete it, or name another"):
        pack(content, tmp_path / "renamed", DESCRIBED, [], [])


def test_folders_of_this_machine_are_told_and_not_described(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "renamed/logs/train/a.log").write_text(f"{tmp_path}/data: no such folder")
    content = content_of(layout, Config.parse(CONFIG, "test"), Chosen(True, False), {})
    assert naming_folders(content.files, [tmp_path, Path("/"), Path("~")]) == [
        "results/demo/logs/train/a.log"
    ]
    job = RestoreJob(
        name="a",
        subject=ControlMethod(kind="control", network_name="bicubic", scale=2),
        dataset="a",
        data=Path("data/a"),
        device="cpu",
        inputs={"weights": tmp_path / "theirs.pth"},
    )
    content = content._replace(files={**content.files, "workflow/Snakefile": Path("theirs.pth")})
    pack(content, tmp_path / "crate", DESCRIBED, [job], [])
    described = (tmp_path / "crate" / METADATA).read_text(encoding="utf-8")
    assert "theirs.pth" in described
    assert str(tmp_path) not in described


@pytest.mark.parametrize(
    ("text", "author"),
    [
        ("Ada Lovelace", Author("Ada Lovelace", None)),
        (" Ada  <https://orcid.org/1> ", Author("Ada", "https://orcid.org/1")),
        ("東 京", Author("東 京", None)),
    ],
)
def test_an_author_is_a_name_and_maybe_an_address(text: str, author: Author) -> None:
    assert Author.parse(text) == author


@pytest.mark.parametrize("text", ["", " ", "<https://orcid.org/1>", "A <b>", "A <https://x> B"])
def test_another_text_is_no_author(text: str) -> None:
    with pytest.raises(SpecError, match="must be a name, and may have an address after it"):
        Author.parse(text)


def test_a_licence_is_an_identifier_or_an_address() -> None:
    assert License.parse("CC-BY-4.0").url == "https://spdx.org/licenses/CC-BY-4.0"
    assert License.parse("https://a.b/c") == License("https://a.b/c", "https://a.b/c")
    for text in ("", "CC BY 4.0", "<b>", "https://a b"):
        with pytest.raises(SpecError, match=r"must be an identifier of https://spdx\.org/licenses"):
            License.parse(text)
