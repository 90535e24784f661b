"""Local attribution from the command line: files in, record and maps out."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from hitsr.base.errors import HitsrError
from hitsr.cli import app
from hitsr.data.images import read_image, write_png
from hitsr.measure.attribution_maps import diffusion_index
from hitsr.plan.jobs import MapJob
from hitsr.plan.subjects import own_network
from hitsr.records import AttributionRecord

RUNNER = CliRunner()
OWN = """
import torch
from torch.nn import functional as F

class Network(torch.nn.Module):
    def forward(self, x):
        return F.interpolate(x**{power}, scale_factor={scale}, mode="bicubic")

def make(scale):
    return Network()
"""


def run(*arguments: object) -> str:
    result = RUNNER.invoke(app, [str(each) for each in arguments])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def refused(*arguments: object) -> str:
    result = RUNNER.invoke(app, [str(each) for each in arguments])
    assert isinstance(result.exception, HitsrError), (result.output, result.exception)
    return str(result.exception)


@pytest.fixture
def own(tmp_path: Path) -> str:
    (tmp_path / "own.py").write_text(OWN.format(power=2, scale=2))
    return f"{tmp_path / 'own.py'}:make"


@pytest.fixture
def lr(tmp_path: Path) -> Path:
    """A 24x20 LR picture."""
    noise = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    write_png(tmp_path / "noise.png", noise)
    return tmp_path / "noise.png"


def test_windows_of_a_picture_become_a_record_and_maps(own: str, lr: Path, tmp_path: Path):
    out = tmp_path / "lam"
    printed = run("lam", own, "-s", 2, "--picture", lr, "--window", "12,8,16", "--window", "0,0,8",
                  "--refine", "--out", out)  # fmt: skip
    assert len(printed.splitlines()) == 4
    record = AttributionRecord.load(out / "record.json")
    assert (record.window_rule, record.dataset, record.settings.steps) == ("given", None, 50)
    assert [each.window for each in record.windows] == [(12, 8, 16), (0, 0, 8)]
    assert record.precision == "float32"
    for each in record.windows:
        assert each.batch == 81  # of 2 x 41 steps; the first shows how much memory a step needs
        channels = np.load(out / each.channels)
        assert channels.shape == (3, 20, 24)
        found = diffusion_index(np.abs(channels.sum(0, dtype=float)))
        assert found == pytest.approx(each.diffusion_index, abs=1e-3)
        assert read_image(out / each.overlay).shape == (40, 3 * 48, 3)
        assert each.refined is not None
        assert each.refined.completeness_error < 0.01


def test_a_set_is_cut_around_its_busiest_windows(own: str, tmp_path: Path):
    noise = np.random.default_rng(0)
    for name in ("first", "second"):
        image = noise.integers(0, 256, (96, 80, 3), dtype=np.uint8)
        write_png(tmp_path / "pictures" / f"{name}.png", image)
    run("prepare", tmp_path / "pictures", "--out", tmp_path / "set", "-s", 2)
    record = json.loads(
        run("lam", own, "-s", 2, "--set", tmp_path / "set", "--crop", 32, "--steps", 3,
            "--out", tmp_path / "lam", "--json")
    )  # fmt: skip
    assert (record["window_rule"], record["dataset"]) == ("busiest", "set")
    assert [each["picture"] for each in record["windows"]] == ["first", "second"]
    for each in record["windows"]:
        assert each["lr_size"] == [16, 16]
        assert each["refined"] is None


@pytest.fixture
def mixed_set(tmp_path: Path) -> Path:
    """A prepared set of a flat, a noisy and a tiny picture."""
    noise = np.random.default_rng(0)
    images = {
        "flat": np.full((64, 64, 3), 100, dtype=np.uint8),
        "noise": noise.integers(0, 256, (64, 64, 3), dtype=np.uint8),
        "tiny": noise.integers(0, 256, (12, 64, 3), dtype=np.uint8),
    }
    for name, image in images.items():
        write_png(tmp_path / "pictures" / f"{name}.png", image)
    run("prepare", tmp_path / "pictures", "--out", tmp_path / "set", "-s", 2)
    return tmp_path / "set"


def test_flat_and_tiny_pictures_of_a_set_are_left_out_by_name(
    own: str, mixed_set: Path, tmp_path: Path
):
    out = tmp_path / "lam"
    *_, flat, tiny = run("lam", own, "-s", 2, "--set", mixed_set, "--steps", 3, "--out", out,
                         "--refine").splitlines()  # fmt: skip
    assert flat.startswith("flat: left out: window ")
    assert "blurring the picture changes nothing in it" in flat
    assert tiny == "tiny: left out: a window of 16 does not fit into 64x12 SR pixels"
    record = AttributionRecord.load(out / "record.json")
    assert [each.picture for each in record.windows] == ["noise"]
    assert [each.picture for each in record.left_out] == ["flat", "tiny"]


def test_a_set_without_any_map_is_an_error(own: str, mixed_set: Path, tmp_path: Path):
    for picture in mixed_set.rglob("noise*.png"):
        picture.unlink()
    told = refused("lam", own, "-s", 2, "--set", mixed_set, "--steps", 3, "--out", tmp_path / "lam")
    assert told.startswith("no picture has a map: flat: window ")
    assert told.endswith("choose one with detail, and so for 1 more")
    assert not (tmp_path / "lam" / "record.json").exists()


def test_a_path_that_cannot_be_refined_loses_only_the_refined_map(
    own: str, lr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("hitsr.measure.attribution.REFINED_ERROR", 0.0)
    record = json.loads(run("lam", own, "-s", 2, "--picture", lr, "--window", "12,8,16",
                            "--refine", "--steps", 2, "--out", tmp_path, "--json"))  # fmt: skip
    assert record["windows"][0]["refined"] is None
    (left_out,) = record["left_out"]
    assert left_out["reason"].startswith("only its refined map: window (12, 8, 16): completeness")


def test_windows_lie_in_photographs_as_exif_turns_them(own: str, lr: Path, tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter: 24x20 becomes 20x24
    with Image.open(lr) as image:
        image.save(tmp_path / "turned.png", exif=exif)
    turned = ("lam", own, "-s", 2, "--picture", tmp_path / "turned.png", "--steps", 2,
              "--out", tmp_path / "lam", "--window")  # fmt: skip
    assert "turned.png, whose SR is 40x48" in refused(*turned, "40,8,8")
    run(*turned, "8,40,8")
    (window,) = AttributionRecord.load(tmp_path / "lam" / "record.json").windows
    assert window.lr_size == (20, 24)


def test_a_window_given_twice_is_mapped_once(own: str, lr: Path, tmp_path: Path):
    record = json.loads(run("lam", own, "-s", 2, "--picture", lr, "--window", "0,0,8", "--window",
                            "0, 0,8", "--steps", 2, "--out", tmp_path, "--json"))  # fmt: skip
    assert [each["window"] for each in record["windows"]] == [[0, 0, 8]]


def test_a_window_outside_the_picture_of_a_job_is_named(own: str, lr: Path, tmp_path: Path):
    subject = own_network(own, 2, None)
    job = MapJob(
        name="a", subject=subject, dataset=None, data=None, crop=0, device="cpu", steps=2,
        inputs={"lr/noise": lr}, windows=(("noise", 40, 30, 16),), output=tmp_path / "record.json",
    )  # fmt: skip
    job.save(tmp_path / "job.json")
    told = refused("lam", "--job", tmp_path / "job.json")
    assert "noise: window (40, 30, 16): reaches outside the SR picture, 48x40" in told


def test_a_sheet_sets_networks_side_by_side(own: str, lr: Path, tmp_path: Path):
    other = tmp_path / "other.py"
    other.write_text(OWN.format(power=3, scale=2))
    networks = {"a": own, "b": f"{other}:make"}
    for name, network in networks.items():
        run("lam", network, "-s", 2, "--picture", lr, "--window", "12,8,16", "--steps", 2,
            "--out", tmp_path / name)  # fmt: skip
    records = [tmp_path / name / "record.json" for name in networks]
    run("sheet", *records, "--out", tmp_path / "sheet.png")
    assert read_image(tmp_path / "sheet.png").shape == (276, 2 * round(3 * 48 * 256 / 40), 3)

    run("lam", own, "-s", 2, "--picture", lr, "--window", "10,8,16", "--steps", 2,
        "--out", tmp_path / "b")  # fmt: skip
    assert "other pictures, windows or settings" in refused(
        "sheet", *records, "--out", tmp_path / "sheet.png"
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("hit_sirr", "-s", "2"), "did you mean 'hit_sir'"),
        (("hit_sir", "-s", "5"), "--scale 5: must be 2, 3 or 4"),
        (("hit_sir", "-s", "2"), "needs --weights FILE"),
        (("hit_sir", "-s", "2", "--weights", "gone.pth"), "gone.pth: no such file"),
        (("a.py:f", "-s", "2"), "--picture LR.png and --window x,y,side, or --set FOLDER"),
        (("a.py:f", "-s", "2", "--picture", "LR", "--window", "1,2"), "must be x,y,side"),
        (("a.py:f", "-s", "2", "--picture", "LR", "--window", "1,2,0"), "must be x,y,side"),
        (("a.py:f", "-s", "2", "--picture", "LR", "--window", "33,24,16"), "SR is 48x40"),
        *(
            (("a.py:f", "-s", "2", "--picture", "LR", "--window", window), "must be x,y,side")
            for window in ("-1,0,8", "a,b,c", "1.5,0,8", "", "0,0,8,8", "1e1,0,8", "0,0,-8")
        ),
        (("a.py:f", "-s", "2", "--picture", "LR", "--window", "0,0,41"), "SR is 48x40"),
        (("a.py:f", "-s", "2", "--picture", "gone.png", "--window", "1,2,3"), "cannot be read"),
        (("a.py:f", "-s", "2", "--picture", "LR", "--picture", "LR", "--window", "1,2,3"),
         "2 pictures, 1 windows"),
        (("a.py:f", "-s", "2", "--set", "gone", "--picture", "LR"), "leave out --picture"),
        (("a.py:f", "-s", "2", "--set", "gone"), "gone/HR: no such folder"),
        (("a.py:f", "-s", "2", "--set", "gone", "--crop", "16"), "too small around a window"),
    ],
)  # fmt: skip
def test_bad_argument_is_told_in_a_sentence(
    arguments: tuple[str, ...], told: str, lr: Path, tmp_path: Path
):
    named = [str(lr) if each == "LR" else each for each in arguments]
    assert told in refused("lam", *named, "--out", tmp_path / "lam")
    assert not (tmp_path / "lam").exists()


def test_bad_argument_is_told_without_torch(lr: Path):
    code = (
        "import sys\n"
        "from hitsr.cli import app\n"
        "from hitsr.base.errors import SpecError\n"
        f"arguments = ['lam', 'a.py:f', '-s', '2', '--out', 'x', '--picture', {str(lr)!r},"
        " '--window', '40,30,16']\n"
        "try:\n"
        "    app(arguments)\n"
        "except SpecError:\n"
        "    sys.exit('torch' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
