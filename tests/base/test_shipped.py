"""Folders of the checkout are found from anywhere, and named where there is no checkout."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from hitsr.base import shipped as module
from hitsr.base.errors import HitsrError
from hitsr.base.shipped import CHECKOUT, shipped
from hitsr.cli import app

CONFIGS = CHECKOUT / "configs"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["reports", "ablations"])
def test_ours_is_taken_unless_the_users_has_yaml_files(name: str, tmp_path: Path) -> None:
    assert shipped(Path(name)) == CHECKOUT / name
    (tmp_path / name).mkdir()
    assert shipped(Path(name)) == CHECKOUT / name
    (tmp_path / name / "mine.yaml").touch()
    assert shipped(Path(name)) == Path(name)


def test_a_folder_that_the_checkout_does_not_have_stays(tmp_path: Path) -> None:
    for folder in (Path("mine"), tmp_path):
        assert shipped(folder) == folder


@pytest.mark.parametrize(
    "words",
    [
        ("resolve", CONFIGS / "demo.yaml"),
        ("doctor", CONFIGS / "demo.yaml"),
        ("report", CONFIGS / "demo.yaml"),
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
def test_without_a_checkout_it_is_said_what_is_missing_and_where_it_was_looked_for(
    words: tuple[object, ...], missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECKOUT", tmp_path / "site-packages")
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert isinstance(result.exception, HitsrError)
    told = str(result.exception)
    assert told.startswith(f"{tmp_path / missing}: no such file or folder, nor is it in {tmp_path}")
    assert f"name the folder there with --{missing.split('/')[0]}" in told


def test_a_relative_config_is_named_with_the_folder_that_was_looked_in(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["doctor", "configs/demo.yaml"])
    assert f"configs/demo.yaml: no such file in {tmp_path}" in str(result.exception)
