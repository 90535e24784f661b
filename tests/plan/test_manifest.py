"""The manifest of a results folder: what it lists, and that `sha256sum` reads it."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from hitsr.base import files
from hitsr.base.errors import RecordError
from hitsr.plan import manifest
from hitsr.plan.layout import Layout
from hitsr.plan.manifest import compare_with_manifest, read_manifest, write_manifest

ODD = ["a b'\"$.png", "back\\slash", "new\nline", "carriage\rreturn", "\\n", "東.png", "-n", "#"]
LISTED = [*(f"pictures/{name}" for name in ODD), "records/latency/a.json", "report/index.html"]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A folder with files of all sorts, listed; all older than what may change unseen."""
    layout = Layout(tmp_path / "demo")
    unlisted = [
        *("seen/a.json", "jobs/wanted.json", "pictures/.kept/x/a.png", "weights/.a.lock"),
        *("weights/.hitsr-1.part", ".hidden/file"),
    ]
    for name in (*LISTED, *unlisted):
        file = layout.results / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    os.mkfifo(layout.results / "pictures" / "pipe")
    write_manifest(layout)
    return layout


def found(layout: Layout) -> manifest.Differences:
    return compare_with_manifest(layout, read_manifest(layout))


def test_it_lists_every_artefact_and_sha256sum_agrees(layout: Layout) -> None:
    assert sorted(read_manifest(layout)) == sorted(LISTED)
    check = ["sha256sum", "--check", "--strict", layout.manifest.name]
    done = subprocess.run(check, cwd=layout.results, capture_output=True)
    assert done.returncode == 0, done
    assert done.stdout.count(b": OK") == len(LISTED)
    every = [os.fsencode(f"./{name}") for name in sorted(LISTED)]
    written = subprocess.run(["sha256sum", *every], cwd=layout.results, capture_output=True)
    assert written.stdout.replace(b"  ./", b"  ") == layout.manifest.read_bytes()


def test_the_same_files_give_the_same_bytes_and_are_not_hashed_again(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = layout.manifest.read_bytes()
    soon = time.time_ns() + 10**10
    hashed: list[str] = []

    def noted(path: Path) -> str:
        hashed.append(path.name)
        return files.sha256(path)

    monkeypatch.setattr(manifest, "sha256", noted)
    # Files may have changed in the moment in which they were hashed, so they are hashed once more.
    monkeypatch.setattr(manifest.time, "time_ns", lambda: soon)
    write_manifest(layout)
    assert len(hashed) == len(LISTED)
    hashed.clear()
    (layout.results / "report/index.html").write_text("report/index.htmX")  # of the same size
    write_manifest(layout)
    assert hashed == ["index.html"]
    changed = [
        a for a, b in zip(before.split(b"\n"), layout.manifest.read_bytes().split(b"\n")) if a != b
    ]
    assert [line[-17:] for line in changed] == [b"report/index.html"]
    layout.seen("manifest").write_text('{"pictures/#": 1}')
    hashed.clear()
    write_manifest(layout)
    assert len(hashed) == len(LISTED)


def test_what_is_changed_missing_or_new_is_told_by_name(layout: Layout) -> None:
    assert found(layout)[:4] == ([], [], [], {})
    (layout.results / "pictures/new\nline").write_text("other")
    (layout.results / "records/latency/a.json").unlink()
    (layout.results / "records/latency/b.json").touch()
    assert found(layout)[:3] == (
        ["pictures/new\nline"],
        ["records/latency/a.json"],
        ["records/latency/b.json"],
    )


def test_a_folder_behind_a_link_is_listed_and_one_that_leads_back_is_not(
    layout: Layout, tmp_path: Path
) -> None:
    (layout.results / "pictures").rename(tmp_path / "elsewhere")
    (layout.results / "pictures").symlink_to(tmp_path / "elsewhere")
    (layout.results / "records/up").symlink_to(layout.results)
    assert found(layout)[:3] == ([], [], [])


def test_a_file_that_cannot_be_read_is_told_and_leaves_the_old_list(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = layout.manifest.read_bytes()

    def broken(path: Path) -> str:
        if path.name == "index.html":
            raise OSError(5, "Input/output error", str(path))
        return files.sha256(path)

    monkeypatch.setattr(manifest, "sha256", broken)
    assert found(layout).unreadable == {"report/index.html": "Input/output error"}
    with pytest.raises(OSError, match=r"Input/output error.*index\.html"):
        write_manifest(layout)
    assert layout.manifest.read_bytes() == before


@pytest.mark.parametrize("text", [b"abc  a\n", b"\n", b"0" * 64 + b" a", b"\xff"])
def test_a_damaged_list_is_refused_with_its_line(layout: Layout, text: bytes) -> None:
    with layout.manifest.open("ab") as file:
        file.write(text)
    with pytest.raises(RecordError, match=rf"SHA256SUMS:{len(LISTED) + 1}: damaged line"):
        read_manifest(layout)


def test_an_absent_list_says_what_to_do(layout: Layout) -> None:
    layout.manifest.unlink()
    with pytest.raises(RecordError, match="no such file; the pipeline writes it at its end"):
        read_manifest(layout)
