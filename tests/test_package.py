"""A wheel of hitsr, installed where there is no checkout, does all that a checkout does."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
import yaml
from pathspec import GitIgnoreSpec

from hitsr.plan.fingerprint import PARTS, code_of
from hitsr.records import TrainingRecord

ROOT = Path(__file__).parents[1]
# What a wheel holds beside the code; it is found in hitsr/shipped.
SHIPPED = ("ablations", "configs", "reports", "workflow")
OF_SOURCES = (
    *("hitsr", *SHIPPED, "config", "examples", ".gitignore", ".snakemake-workflow-catalog.yml"),
    *("CHANGELOG.md", "CITATION.cff", "LICENSE", "README.md", "hatch_build.py"),
    *("pyproject.toml", "requirements.lock"),
)
LEFTOVERS = (
    *("hitsr/__pycache__/api.pyc", "hitsr/cli/.mypy_cache/x", "results/demo/records/x.json"),
    *("workflow/.snakemake/log", "configs/.snakemake/x", "data/x.png", "weights/x.pth"),
)
CONFIG: dict[str, Any] = run_path(str(ROOT / "tests/tiny.py"))["tiny"](
    "tiny", "A run of seconds", networks=["hit_sir"], ablations=["mine"]
)
ABLATION = """
question: Does a softmax matter here?
base: hit_sir
variants: {without: {}, with: {mixer.softmax: true}}
expect: Nobody knows.
"""


def call(folder: Path, *command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command that finds neither the checkout nor its tools."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        command, cwd=folder, env={**kept, "PATH": os.defpath, **variables}, capture_output=True,
        encoding="utf-8", timeout=1800,  # far above what any takes: it only ends what hangs
    )  # fmt: skip


def succeed(*arguments: Any, **variables: str) -> str:
    """What a command prints, which must succeed."""
    done = call(*arguments, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout's files, committed, and what work leaves beside them."""
    folder = tmp_path_factory.mktemp("source")
    for name in (*OF_SOURCES, "tests/conftest.py", "Snakefile"):
        for file in sorted((ROOT / name).rglob("*")) or [ROOT / name]:
            if file.is_file() and not _is_ignored(file):
                target = folder / file.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, target)
    (folder / "profiles").symlink_to("workflow/profiles")
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@b")
    for words in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "a")):
        subprocess.run([*git, *words], cwd=folder, check=True)
    for name in LEFTOVERS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def _is_ignored(file: Path) -> bool:
    ignored = GitIgnoreSpec.from_lines((ROOT / ".gitignore").read_text().splitlines())
    return ignored.match_file(file.relative_to(ROOT))


def tracked(source: Path, *names: str) -> set[str]:
    return {*succeed(source, "git", "ls-files", *names).splitlines()}


def head(source: Path) -> str:
    return succeed(source, "git", "rev-parse", "HEAD").strip()


def build(source: Path, folder: Path, *kinds: str) -> None:
    succeed(source, sys.executable, "-m", "hatchling", "build", "-d", folder, *kinds)


@pytest.fixture(scope="module")
def built(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a wheel and of a source archive."""
    folder = tmp_path_factory.mktemp("built")
    build(source, folder)
    return folder


def packed(folder: Path) -> dict[str, bytes]:
    """Names and content of the one wheel in a folder."""
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def test_a_wheel_holds_what_git_tracks_and_nothing_else(source: Path, built: Path) -> None:
    named = {name for name in packed(built) if ".dist-info/" not in name}
    beside = {f"hitsr/shipped/{name}" for name in tracked(source, *SHIPPED)}
    assert named == tracked(source, "hitsr") | beside | {"hitsr/shipped/commit.json"}
    assert {"hitsr/py.typed", "hitsr/shipped/workflow/Snakefile"} <= named
    assert "hitsr/shipped/reports/published/sources.csv" in named
    assert "hitsr/shipped/configs/recipes/hit_sr.yaml" in named


def test_a_source_archive_holds_what_git_tracks_of_it_and_makes_the_same_wheel(
    source: Path, built: Path, tmp_path: Path
) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path, filter="data")
        named = {name.partition("/")[2] for name in opened.getnames()}
    assert named == tracked(source, *OF_SOURCES) | {"PKG-INFO", "commit.json"}
    (unpacked,) = tmp_path.iterdir()
    build(unpacked, tmp_path, "-t", "wheel")
    assert packed(tmp_path) == packed(built)


def test_a_wheel_of_changed_code_says_so(source: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(source, tmp_path / "copy")
    with (copy / "hitsr" / "api.py").open("a") as file:
        file.write("# changed\n")
    build(copy, tmp_path, "-t", "wheel")
    commit = json.loads(packed(tmp_path)["hitsr/shipped/commit.json"])
    assert commit == {"commit": head(source), "dirty": True}


@pytest.fixture(scope="module")
def place(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a config and an ablation of one's own; the wheel is installed in `env`."""
    folder = tmp_path_factory.mktemp("elsewhere")
    succeed(folder, sys.executable, "-m", "venv", "--without-pip", folder / "env")
    tools = folder / "env" / "bin"
    purelib = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(succeed(folder, tools / "python", "-c", purelib).strip())
    # The locked packages, but not the checkout: Python reads no .pth files in a folder of a .pth.
    (site / "locked.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    (wheel,) = built.glob("*.whl")
    pip = (sys.executable, "-m", "pip", "--python", tools / "python", "--disable-pip-version-check")
    succeed(folder, *pip, "install", "--quiet", "--no-index", "--no-deps", wheel)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    (folder / "ablations").mkdir()
    (folder / "ablations" / "mine.yaml").write_text(ABLATION, encoding="utf-8")
    return folder


def hitsr(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return call(place, place / "env" / "bin" / "hitsr", *arguments)


def test_code_is_found_in_the_environment_and_has_the_hashes_of_the_checkout(place: Path) -> None:
    code = (
        "import json, hitsr; from hitsr.plan.fingerprint import PARTS, code_of\n"
        "print(json.dumps([hitsr.__file__, hitsr.__version__, {k: code_of(k) for k in PARTS}]))"
    )
    told = json.loads(succeed(place, place / "env" / "bin" / "python", "-c", code))
    assert Path(told[0]).is_relative_to(place)
    assert told[1:] == [_version(), {kind: code_of(kind) for kind in PARTS}]


def _version() -> str:
    (line,) = re.findall(r'(?m)^version = "(.*)"$', (ROOT / "pyproject.toml").read_text())
    return line


def test_verbs_find_what_they_need(place: Path) -> None:
    def told(*arguments: str) -> str:
        done = hitsr(place, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert told("--version").startswith(f"hitsr {_version()}, ")
    assert "hit_sir.softmax_on-x2-s1" in told("resolve", "tiny.yaml").splitlines()
    assert "swinir_light-x4" in told("resolve", "paper").splitlines()
    assert "nothing missing" in told("doctor", "tiny.yaml")


def test_dry_runs_anywhere_plan_what_plain_snakemake_plans_in_a_checkout(
    place: Path, source: Path
) -> None:
    dry = hitsr(place, "run", "demo", "-n")
    tools = Path(sys.executable).parent
    path = f"{tools}{os.pathsep}{os.defpath}"
    # A copy: a checkout in which one works may have results already.
    plain = call(source, tools / "snakemake", "-n", PATH=path, PYTHONPATH=str(source))
    assert dry.returncode == plain.returncode == 0, dry.stderr + plain.stderr
    assert _table(dry.stdout) == _table(plain.stdout)


def _table(said: str) -> str:
    table = said.partition("Job stats:")[2].partition("total")[0]
    assert "\nreport " in table
    return table


@pytest.fixture(scope="module")
def finished(place: Path) -> Path:
    """The folder after a run of the config to its end."""
    done = hitsr(place, "run", "tiny.yaml", "--cores", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "results/tiny/report/index.html" in done.stdout
    return place


def test_a_run_makes_the_report_with_an_ablation_of_ones_own(source: Path, finished: Path) -> None:
    page = (finished / "results" / "tiny" / "report" / "index.html").read_text(encoding="utf-8")
    assert "A run of seconds" in page
    assert "Does a softmax matter here?" in page
    record = finished / "results" / "tiny" / "weights" / "hit_sir-x2-s1" / "record.json"
    made = TrainingRecord.load(record).provenance
    assert (made.commit, made.dirty) == (head(source), False)
    assert made.versions["hitsr"] == _version()


def test_a_run_that_fails_ends_with_the_status_of_snakemake(finished: Path) -> None:
    nonsense = hitsr(finished, "run", "tiny.yaml", "--cores", "2", "nonsense")
    assert nonsense.returncode == 1
    assert "nonsense" in nonsense.stderr


def test_results_are_listed_and_compared_with_the_wheel_s_templates(finished: Path) -> None:
    assert hitsr(finished, "index").returncode == 0
    assert "tiny" in (finished / "results" / "index.html").read_text(encoding="utf-8")
    same = hitsr(finished, "compare", *("results/tiny",) * 2, "--html", "compare.html")
    assert same.returncode == 0, same.stdout + same.stderr
    assert (finished / "compare.html").is_file()
