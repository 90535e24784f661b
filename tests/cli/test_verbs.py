"""The command line as a user meets it, run in this process."""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from hitsr.base.errors import HitsrError
from hitsr.cli import app
from hitsr.data.images import write_png
from hitsr.data.sources import pairs
from hitsr.records import DatasetRecord, LatencyRecord

RUNNER = CliRunner()
VERBS = [
    command.callback.__name__.replace("_", "-")
    for command in app.registered_commands
    if command.callback
]


def run(*arguments: str) -> str:
    """Standard output of a verb that must succeed."""
    result = RUNNER.invoke(app, arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def refused(*arguments: str) -> str:
    """The message of a verb that must be refused as a user's error."""
    result = RUNNER.invoke(app, arguments)
    assert isinstance(result.exception, HitsrError), (result.output, result.exception)
    return str(result.exception)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with two small HR pictures."""
    noise = np.random.default_rng(0)
    for name in ("first", "second"):
        image = noise.integers(0, 256, (40, 48, 3), dtype=np.uint8)
        write_png(tmp_path / "pictures" / f"{name}.png", image)
    return tmp_path / "pictures"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str) -> None:
    assert "Usage" in run(verb, "--help")


def test_versions_are_printed() -> None:
    assert run("--version").startswith(f"hitsr {version('hitsr')}, torch {version('torch')}, ")


def test_help_has_a_short_option() -> None:
    assert run("-h") == run("--help")
    assert run("upscale", "-h") == run("upscale", "--help")


def test_complexity_prints_integers_for_machines() -> None:
    counted = json.loads(run("complexity", "hit_sir", "--scale", "4", "--json"))
    assert counted["params"] == 791_540
    assert counted["flops"] == pytest.approx(53.84e9, abs=0.01e9)
    assert counted["counter"] == "torch"


def test_conversion_of_the_baseline_is_the_published_network() -> None:
    printed = json.loads(run("convert", "swinir_light"))
    assert printed["windows"]["ratios"] == [0.5, 1, 2, 4, 6, 8]
    assert printed["mixer"]["kind"] == "correlation"


def test_prepare_then_restore_then_quality_scores_bicubic(pictures: Path, tmp_path: Path) -> None:
    folder, manifest = tmp_path / "set", tmp_path / "manifest.json"
    run("prepare", str(pictures), "--out", str(folder), "-s", "2", "--manifest", str(manifest),
        "--packs", str(tmp_path / "packs"))  # fmt: skip
    assert (tmp_path / "packs" / "set" / "HR" / "first.safetensors").is_file()
    assert [pair.name for pair in pairs(folder, 2)] == ["first", "second"]
    assert [picture.lr_size for picture in DatasetRecord.load(manifest).pictures] == [(24, 20)] * 2

    sr = tmp_path / "sr"
    run("restore", "bicubic", "--data", str(folder), "-s", "2", "--out", str(sr))
    scored = json.loads(
        run("quality", "--sr", str(sr), "--hr", str(folder / "HR"), "-s", "2", "--json")
    )
    assert [picture["name"] for picture in scored["pictures"]] == ["first", "second"]
    assert all(5 < picture["psnr_db"] < 30 for picture in scored["pictures"])


def test_identical_pictures_are_said_to_be(pictures: Path) -> None:
    same = run("quality", "--sr", str(pictures), "--hr", str(pictures), "-s", "2")
    assert same.count("identical") == 2 * 2  # on luma and on RGB
    assert "infinite" in same


def test_more_metrics_are_scored_and_those_without_weights_say_why(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "no_weights_here"))
    scored = json.loads(
        run("quality", "--sr", str(pictures), "--hr", str(pictures), "-s", "2",
            "--metrics", "gmsd,clipiqa", "--device", "cpu", "--json")
    )  # fmt: skip
    assert all(picture["others"] == {"gmsd": 0.0} for picture in scored["pictures"])
    assert "clip" in scored["unavailable"]["clipiqa"]
    assert "full-reference" in scored["signatures"]["gmsd"]
    told = refused("quality", "--sr", str(pictures), "--hr", str(pictures), "-s", "2",
                   "--metrics", "lpisp")  # fmt: skip
    assert "did you mean 'lpips'" in told


def test_latency_record_keeps_every_sample(tmp_path: Path) -> None:
    out = tmp_path / "latency.json"
    run("latency", "hit_sir", "-s", "4", "--output-size", "32x32", "--samples", "3",
        "--device", "cpu", "--out", str(out))  # fmt: skip
    record = LatencyRecord.load(out)
    assert len(record.samples_ms) == 3
    assert record.formulation == "fused"
    assert record.input_size == (8, 8)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("complexity", "hit_sirr"), "did you mean 'hit_sir'"),
        (("complexity", "hit_sir", "-s", "5"), "--scale 5: must be 2, 3 or 4"),
        (("complexity", "hit_sir", "--output-size", "1280"), "must be WIDTHxHEIGHT"),
        (("complexity", "absent.json"), "absent.json: no such file"),
        (("convert", "swinir_light", "--ratios", "1,x"), "'x' is not a number"),
        (("convert", "swinir_light", "--ratios", "1,2"), "6 blocks, but windows.ratios has 2"),
        (("resolve", "configs/absent.yaml"), "absent.yaml: no such file"),
        (("restore", "bicubic", "--data", "absent", "-s", "2", "--out", "x"), "no such folder"),
        (
            ("restore", "hr", "--data", ".", "-s", "2", "--out", "x", "--self-ensemble"),
            "hr: not a network; leave out --tile and --self-ensemble",
        ),
        (("quality", "--sr", "absent", "--hr", "absent", "-s", "2"), "no such folder"),
        (("collect", "absent"), "no such folder"),
        (("index", "absent"), "no such folder"),
    ],
)
def test_bad_argument_is_told_in_a_sentence(arguments: tuple[str, ...], told: str) -> None:
    assert told in refused(*arguments)


def test_resolved_names_are_listed_and_the_nearest_is_offered() -> None:
    config = str(Path(__file__).parents[2] / "configs" / "demo.yaml")
    assert "hit_sir-x2-s1" in run("resolve", config).splitlines()
    assert "did you mean 'hit_sir-x2-s1'" in refused("resolve", config, "hit_sir-x2-s3")
