"""Fuzzed YAML and JSON: configs, ablations, recipes, networks, claims, records, logs, job files."""

import json
from pathlib import Path
from runpy import run_path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hitsr.base.values import Value
from hitsr.data.origins import LrOrigin, Origins, read_origins
from hitsr.plan.jobs import read_job
from hitsr.records import read_log
from hitsr.report.gather import RECORDS
from hitsr.specs.ablation import Ablation, ablation_rows
from hitsr.specs.claims import read_claims
from hitsr.specs.config import load_config
from hitsr.specs.network import NetworkSpec
from hitsr.specs.recipes import NamedRecipe
from hitsr.specs.zoo import NETWORKS

ROOT = Path(__file__).parents[2]
FUZZ = run_path(str(Path(__file__).with_name("fuzzing.py")))
fuzzed, files, read = FUZZ["fuzzed"], FUZZ["files"], FUZZ["read"]
FOLDER = run_path(str(ROOT / "tests/report/conftest.py"))


def _documents(pattern: str) -> list[Any]:
    found = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in ROOT.glob(pattern)]
    assert found
    return sorted(found, key=str)


def _of_results(*patterns: str) -> list[Any]:
    """The JSON files of a results folder with every kind of record."""
    with TemporaryDirectory() as temporary:
        config = FOLDER["make_config"](Path("data"), **FOLDER["EVERYTHING"])
        config = config.model_copy(
            update={"data": config.data.model_copy(update={"root": Path(temporary) / "data"})}
        )
        FOLDER["Folder"](config, Path(temporary) / "results").everything().extras()
        found = [path for pattern in patterns for path in Path(temporary).glob(pattern)]
        by_shape: dict[Any, Any] = {}
        for path in sorted(found):
            content = (
                json.loads(path.read_text(encoding="utf-8").splitlines()[0])
                if path.suffix == ".jsonl"
                else json.loads(path.read_bytes())
            )
            by_shape.setdefault((path.parts[-2], *content), content)
        assert by_shape
        return list(by_shape.values())


def _same(value: Value) -> None:
    """Written as YAML and read again, it is an equal value, as text too."""
    plain = _plain(value.model_dump())
    with TemporaryDirectory() as folder:
        file = Path(folder) / "again.yaml"
        file.write_text(
            yaml.safe_dump(plain, allow_unicode=True, sort_keys=False), encoding="utf-8"
        )
        again = type(value).read(file)
    assert again == value
    assert again.to_json() == value.to_json()
    assert again.hash == value.hash


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {key: _plain(each) for key, each in value.items()}
        case tuple() | list():
            return [_plain(each) for each in value]
        case Path():
            return str(value)
    return value


CONFIGS = [
    *_documents("configs/*.yaml"),
    FOLDER["make_config"](Path("data"), **FOLDER["EVERYTHING"]).model_dump(mode="json"),
]
CONFIG = load_config(ROOT / "configs/demo.yaml")
RECORD_FILES = _of_results("results/records/*/*.json", "results/*/*/record.json")
JOB_FILES = _of_results("results/jobs/*/*.json")
LOG_LINES = _of_results("results/weights/*/log.jsonl")
(_CLAIMS,) = _documents("reports/claims.yaml")
CLAIMS = [_CLAIMS[at:] for at in range(0, len(_CLAIMS), 3)]


@given(
    st.sampled_from([".yaml", ".json"]).flatmap(lambda s: st.tuples(st.just(s), files(CONFIGS, s)))
)
@fuzzed(250)
def test_configs(tmp_path_factory: pytest.TempPathFactory, drawn: tuple[str, bytes]) -> None:
    file = _written(tmp_path_factory, f"config{drawn[0]}", drawn[1])
    if config := read(load_config, file):
        _same(config)


@given(files(_documents("ablations/*.yaml"), ".yaml"))
@fuzzed(150)
def test_ablations(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = _written(tmp_path_factory, "ablation.yaml", data)

    def rows(path: Path) -> Ablation:
        ablation = Ablation.read(path)
        ablation_rows(path.stem, ablation, CONFIG)
        return ablation

    if ablation := read(rows, file):
        _same(ablation)


@given(files(_documents("configs/recipes/*.yaml"), ".yaml"))
@fuzzed(150)
def test_recipes(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = _written(tmp_path_factory, "recipe.yaml", data)
    if recipe := read(NamedRecipe.read, file):
        _same(recipe)


@given(files([network.model_dump(mode="json") for network in NETWORKS.values()], ".yaml"))
@fuzzed(150)
def test_networks(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = _written(tmp_path_factory, "network.yaml", data)
    if network := read(NetworkSpec.read, file):
        _same(network)


@given(files([claims[:3] for claims in CLAIMS], ".yaml"))
@fuzzed(100)
def test_claims(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = _written(tmp_path_factory, "claims.yaml", data)
    for claim in read(read_claims, file) or ():
        _same(claim)


@given(files(RECORD_FILES, ".json"))
@fuzzed(300)
def test_records(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = _written(tmp_path_factory, "record.json", data)
    for kind in RECORDS.values():
        if record := read(kind.load, file):
            record.save(file)
            assert kind.load(file) == record


@given(st.lists(files(LOG_LINES, ".json"), max_size=3))
@fuzzed(150)
def test_logs(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    file = _written(tmp_path_factory, "log.jsonl", b"\n".join(lines))
    for line in read(read_log, file) or ():
        _same(line)


@given(files(JOB_FILES, ".json"))
@fuzzed(150)
def test_job_files(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = _written(tmp_path_factory, "job.json", data)
    if job := read(read_job, file):
        job.save(file)
        assert read_job(file) == job


ORIGIN = LrOrigin(hr_sha256="a", lr_sha256="b", hr_size=(4, 6), lr_size=(2, 3), origin="made")


@given(files([Origins(files={"a.png": ORIGIN}).model_dump(mode="json")], ".json"))
@fuzzed(100)
def test_origins(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = _written(tmp_path_factory, "prepared.json", data)
    if origins := read(lambda path: read_origins(path.parent), file):
        _same(origins)


def _written(factory: pytest.TempPathFactory, name: str, data: bytes) -> Path:
    file = factory.getbasetemp() / name
    file.write_bytes(data)
    return file
