"""Text files are UTF-8 whatever the locale: in code, where none is forgotten, and when run."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FILES = [
    path for room in ("hitsr", "benchmarks", "examples") for path in (ROOT / room).rglob("*.py")
]
PLAIN = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
TITLE = "中文标题 – ü ±"
CONFIG = {
    "name": "plain",
    "title": TITLE,
    "own": {"mine": {"source": "examples/own_network.py:build", "scales": [2]}},
    "data": {"root": "data", "source": "wheels", "test": ["test"]},
    "efficiency": {"latency": {"scales": [2]}},
}


def _forgets_encoding(call: ast.Call) -> bool:
    """Whether a call reads or writes text in the encoding of the locale."""
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    modes = [
        value.value for value in (*call.args, *given.values()) if isinstance(value, ast.Constant)
    ]
    is_text = not any(isinstance(mode, str) and "b" in mode for mode in modes)
    match call.func:
        case ast.Attribute(value=ast.Name(id="Image" | "os"), attr="open"):
            return False
        case ast.Attribute(attr="open") if "force_zip64" in given:  # of zip archives
            return False
        case ast.Attribute(attr="read_text" | "write_text"):
            return "encoding" not in given
        case ast.Attribute(attr="open") | ast.Name(id="open"):
            return is_text and "encoding" not in given
        case ast.Attribute(attr="run" | "Popen" | "check_output"):
            return bool({"text", "universal_newlines"} & set(given)) and "encoding" not in given
    return False


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_text_file_has_a_named_encoding(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert [call.lineno for call in calls if _forgets_encoding(call)] == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workflow's files, and a config as an editor on Windows writes it."""
    folder = tmp_path_factory.mktemp("plain")
    for name in ("workflow", "reports", "ablations", "examples"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "Snakefile", folder)
    sources = folder / "reports" / "published" / "sources.csv"
    sources.write_bytes(_of_windows(sources.read_text(encoding="utf-8")))
    (folder / "plain.yaml").write_bytes(_of_windows(yaml.safe_dump(CONFIG, allow_unicode=True)))
    return folder


def _of_windows(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode("utf-8-sig")


def run_plain(folder: Path, tool: str, *arguments: str) -> str:
    """What a tool prints under a locale that knows ASCII alone."""
    tools = Path(sys.executable).parent
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [tools / tool, *arguments], cwd=folder, env={**os.environ, **PLAIN, "PATH": path},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
    )  # fmt: skip
    assert "Traceback" not in done.stdout, done.stdout
    return done.stdout


def test_verbs_and_report_work_in_a_plain_locale(folder: Path) -> None:
    assert "nothing missing" in run_plain(folder, "hitsr", "doctor", "plain.yaml")
    assert "│" in run_plain(folder, "hitsr", "--help")
    run_plain(folder, "hitsr", "report", "plain.yaml")
    page = folder / "results" / "plain" / "report" / "index.html"
    assert TITLE in page.read_text(encoding="utf-8")


def test_pipeline_plans_in_a_plain_locale(folder: Path) -> None:
    planned = run_plain(folder, "snakemake", "-n", "--cores", "1", "--configfile", "plain.yaml")
    assert "This was a dry-run" in planned


@pytest.mark.parametrize("tool", ["hitsr", "snakemake"])
def test_path_that_the_locale_cannot_write_is_told(folder: Path, tool: str) -> None:
    data = {"root": "data/ü", "source": "wheels", "test": ["test"]}
    config = yaml.safe_dump({**CONFIG, "data": data}, allow_unicode=True)
    (folder / "umlaut.yaml").write_text(config, encoding="utf-8")
    call = ["doctor"] if tool == "hitsr" else ["-n", "--configfile"]
    told = run_plain(folder, tool, *call, "umlaut.yaml")
    assert "data.root: no path in this locale's ascii; set PYTHONUTF8=1 (got 'data/ü')" in told
