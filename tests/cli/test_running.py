"""`hitsr run` becomes Snakemake, with the arguments, the profile and the tools that were meant."""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hitsr.base.shipped import SHIPPED
from hitsr.cli import app, running

WORKFLOW = SHIPPED / "workflow"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What replaces this process: arguments and environment."""
    found: list[Any] = []
    monkeypatch.setattr(os, "execve", lambda _, *words: found.extend(words))
    return found


def run(*words: str | Path) -> str:
    result = CliRunner().invoke(app, ["run", *map(str, words)])
    return result.output if result.exit_code == 0 else str(result.exception)


CONFIG = SHIPPED / "configs"


@pytest.mark.parametrize(
    ("given", "config", "passed"),
    [
        ((), "demo", ()),
        (("lite",), "lite", ()),
        ((CONFIG / "lite.yaml",), "lite", ()),
        (("demo", "-n", "--cores", "4", "ablation_shift"), "demo", None),
        (("demo", "--", "-n", "--", "all"), "demo", ("-n", "--", "all")),
        (("demo", "--forcerun=report"), "demo", None),
        (("demo", "-np", "--profile", "gpu"), "demo", ("--workflow-profile", "gpu", "-np")),
        (("demo", "--profile", "mine"), "demo", ("--profile", "mine")),
    ],
)
def test_it_calls_snakemake_with_its_own_arguments(
    started: list[Any], given: tuple[str, ...], config: str, passed: tuple[str, ...] | None
) -> None:
    Path("mine").mkdir()
    assert run(*given) == ""
    command, variables = started
    expected = [sys.executable, "-m", "snakemake", f"--configfile={CONFIG / config}.yaml"]
    assert command[:6] == [*expected, "--snakefile", f"{WORKFLOW / 'Snakefile'}"]
    words = [word.replace(f"{WORKFLOW / 'profiles'}{os.sep}", "") for word in command[6:]]
    assert words == list(given[1:] if passed is None else passed)
    tools = variables["PATH"].split(os.pathsep)[0]
    assert tools == str(Path(sys.argv[0]).absolute().parent)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("dmo",), "dmo: no such file in {here}, nor a config's name; did you mean 'demo'?"),
        (
            ("--cores", "4"),
            "run --cores: the config comes before arguments of Snakemake, as in "
            "`hitsr run demo --cores 2`",
        ),
        (
            ("demo", "--profile", "gup"),
            "--profile gup: neither one of hitsr's nor a folder here or in ",
        ),
        (("wrong.yaml",), "wrong.yaml: no field 'nane'; did you mean 'name'?"),
    ],
)
def test_wrong_use_is_told_before_anything_starts(
    started: list[Any], tmp_path: Path, given: tuple[str, ...], told: str
) -> None:
    (tmp_path / "wrong.yaml").write_text("nane: a")
    assert told.format(here=tmp_path) in run(*given)
    assert not started


def test_a_config_s_name_may_begin_as_an_option_does(started: list[Any], tmp_path: Path) -> None:
    shutil.copy(CONFIG / "demo.yaml", tmp_path / "-n.yaml")
    assert run("./-n.yaml") == ""
    assert "--configfile=-n.yaml" in started[0]


def test_a_missing_snakemake_is_told(started: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "find_spec", lambda _: None)
    assert run("demo") == "run: needs the package snakemake; run `pip install snakemake`"
    assert not started
