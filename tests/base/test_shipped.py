"""What hitsr ships is found from anywhere; what is missing is named."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from hitsr.base import shipped as module
from hitsr.base.errors import HitsrError, SpecError
from hitsr.base.shipped import SHIPPED, shipped
from hitsr.cli import app
from hitsr.specs.ablation import read_ablations
from hitsr.specs.config import find_config, load_config

CONFIGS = SHIPPED / "configs"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["reports", "ablations"])
def test_ours_is_taken_unless_the_users_has_yaml_files(name: str, tmp_path: Path) -> None:
    assert shipped(Path(name)) == SHIPPED / name
    (tmp_path / name).mkdir()
    assert shipped(Path(name)) == SHIPPED / name
    (tmp_path / name / "mine.yaml").touch()
    assert shipped(Path(name)) == Path(name)


def test_a_folder_that_hitsr_does_not_have_stays(tmp_path: Path) -> None:
    for folder in (Path("mine"), tmp_path):
        assert shipped(folder) == folder


@pytest.mark.parametrize(
    "words",
    [
        ("resolve", CONFIGS / "demo.yaml"),
        ("doctor", CONFIGS / "demo.yaml"),
        ("report", CONFIGS / "demo.yaml"),
        ("resolve", "demo"),
        ("doctor", "demo"),
        ("report", "demo"),
        ("index", "."),
    ],
)
def test_verbs_work_in_any_folder(words: tuple[object, ...]) -> None:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, (result.output, result.exception)


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (("fetch-weights", "hit_sir"), "reports/published/sources.csv"),
        (("resolve", CONFIGS / "demo.yaml"), "ablations"),
        (("doctor", CONFIGS / "demo.yaml"), "ablations"),
    ],
)
def test_it_is_said_what_is_missing_and_where_it_was_looked_for(
    words: tuple[object, ...], missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHIPPED", tmp_path / "damaged")
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert isinstance(result.exception, HitsrError)
    told = str(result.exception)
    assert told.startswith(f"{tmp_path / missing}: no such file or folder, nor is it in {tmp_path}")
    assert told.endswith(f"name the folder that has it with --{missing.split('/')[0]}")


def test_a_config_that_is_nowhere_is_told_with_the_nearest_name(tmp_path: Path) -> None:
    for given, hint in (
        ("configs/demo.yaml", "did you mean 'demo'?"),
        ("dmeo", "did you mean 'demo'?"),
        ("mine", "known: demo, lite, official, paper"),
    ):
        result = CliRunner().invoke(app, ["doctor", given])
        told = f"{given}: no such file in {tmp_path}, nor a config's name; {hint}"
        assert str(result.exception) == told


def test_a_config_of_a_name_is_the_one_here(tmp_path: Path) -> None:
    assert find_config(Path("demo")) == CONFIGS / "demo.yaml"
    (tmp_path / "demo").mkdir()  # a folder of that name is no config
    (tmp_path / "configs").mkdir()
    for name in ("demo", "mine"):
        (tmp_path / "configs" / f"{name}.yaml").write_text("name: 1")
        assert find_config(Path(name)) == tmp_path / "configs" / f"{name}.yaml"
    with pytest.raises(SpecError, match=r"configs/mine\.yaml: name: must be text"):
        load_config(Path("mine"))


def test_ablations_are_hitsr_s_and_those_here_unless_a_folder_is_named(tmp_path: Path) -> None:
    theirs = read_ablations()
    assert "softmax" in theirs
    here = tmp_path / "ablations"
    here.mkdir()
    text = (SHIPPED / "ablations" / "softmax.yaml").read_text()
    (here / "mine.yaml").write_text(text)
    assert read_ablations() == {**theirs, "mine": theirs["softmax"]}
    assert read_ablations(here) == {"mine": theirs["softmax"]}
    question = theirs["softmax"].question
    (here / "softmax.yaml").write_text(text.replace(question, "Mine?"))
    assert read_ablations()["softmax"].question == "Mine?"
