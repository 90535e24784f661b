"""make passes names on as they are given, in a folder of any name."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ODD = """it's [a] "$(touch ran)" `touch ran` {x} $HOME 100% #1 ü ;touch ran & | *?! ~"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The Makefile, with tools that print their arguments instead of working."""
    folder = tmp_path / ODD
    tools = folder / ".venv" / "bin"
    tools.mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, folder)
    (folder / "ablations").mkdir()
    for name in ("softmax", ODD):
        (folder / "ablations" / f"{name}.yaml").touch()
    for name in ("snakemake", "pytest", "mkdocs"):
        (tools / name).write_text("#!/bin/sh\nprintf '<%s>' \"$@\"\n", encoding="utf-8")
        (tools / name).chmod(0o755)
    (folder / ".venv" / "installed").touch()
    return folder


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        ["make", "--silent", *arguments], cwd=folder, capture_output=True, encoding="utf-8"
    )
    assert not [*folder.rglob("ran")]
    return done


@pytest.mark.parametrize(
    ("arguments", "called"),
    [
        (["report"], "<--configfile><configs/demo.yaml>"),
        (["report", f"CONFIG={ODD}.yaml"], f"<--configfile><{ODD}.yaml>"),
        (["ablation", "NAME=softmax"], "<ablation_softmax><--configfile><configs/demo.yaml>"),
        (["test"], "<-n><auto><--dist><loadscope>"),
        (["docs"], "<build><--strict>"),
    ],
)
def test_targets_call_their_tools(folder: Path, arguments: list[str], called: str) -> None:
    assert make(folder, *arguments).stdout == called


def test_unknown_ablation_is_told_with_those_that_exist(folder: Path) -> None:
    done = make(folder, "ablation", f"NAME={ODD} x")
    assert done.returncode != 0
    assert f"NAME={ODD} x: no such ablation; there are: " in done.stdout
    assert "softmax.yaml" in done.stdout


@pytest.mark.parametrize("name", ["a:b", "{x}", "$x"])
def test_folder_that_python_cannot_install_into_is_told(folder: Path, name: str) -> None:
    (folder / ".venv" / "installed").unlink()
    done = make(folder.rename(folder.parent / name), "report", "PYTHON=true")
    assert done.returncode != 0
    assert f"{folder.parent / name}: Python cannot install into" in done.stdout
