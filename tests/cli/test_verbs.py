"""The command line as a user meets it, run in this process."""

import json
import shutil
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from hitsr.base.errors import HitsrError
from hitsr.cli import app, main
from hitsr.data.bicubic import imresize
from hitsr.data.images import read_image, write_png
from hitsr.data.sources import pairs
from hitsr.plan.jobs import PrepareJob
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


def test_sets_whose_hr_names_have_an_ending_are_scored(pictures: Path, tmp_path: Path) -> None:
    folder, sr = tmp_path / "set", tmp_path / "sr"
    mixed = folder / "image_SRF_2"
    mixed.mkdir(parents=True)
    for path in pictures.iterdir():
        write_png(mixed / f"{path.stem}_SRF_2_HR.png", read_image(path))
        write_png(mixed / f"{path.stem}_SRF_2_LR.png", imresize(read_image(path), 0.5))
    run("restore", "bicubic", "--data", str(folder), "-s", "2", "--out", str(sr))
    score = ("quality", "--sr", str(sr), "--hr", str(mixed), "-s", "2", "--json")
    scored = json.loads(run(*score))
    assert [picture["name"] for picture in scored["pictures"]] == ["first", "second"]


def test_scores_need_no_single_folder_of_lr_pictures(pictures: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for name in ("HR", "LR_mild/X2", "LR_bicubic/X2"):
        shutil.copytree(pictures, folder / name)
    scored = json.loads(
        run("quality", "--sr", str(pictures), "--hr", str(folder / "HR"), "-s", "2", "--json")
    )
    assert [picture["psnr_db"] for picture in scored["pictures"]] == [None, None]


def test_manifest_has_the_sizes_of_turned_photographs(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    (tmp_path / "photos").mkdir()
    picture = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "photos/a.jpg", exif=exif)
    # Copied into another folder, and used where it is.
    (tmp_path / "set").mkdir()
    shutil.copytree(tmp_path / "photos", tmp_path / "set/HR")
    for source, out in (("photos", "copy"), ("set", "set")):
        run("prepare", str(tmp_path / source), "--out", str(tmp_path / out), "-s", "2",
            "--manifest", str(tmp_path / "a.json"))  # fmt: skip
        (found,) = DatasetRecord.load(tmp_path / "a.json").pictures
        assert (found.hr_size, found.lr_size) == ((40, 48), (20, 24))


def test_quality_refuses_hr_pictures_that_were_replaced_since_their_lr_was_made(
    pictures: Path, tmp_path: Path
) -> None:
    folder, sr = tmp_path / "set", str(tmp_path / "sr")
    run("prepare", str(pictures), "--out", str(folder), "-s", "2")
    run("restore", "bicubic", "--data", str(folder), "-s", "2", "--out", sr)
    hr = folder / "HR"
    write_png(hr / "first.png", np.zeros((40, 48, 3), np.uint8))
    message = refused("quality", "--sr", sr, "--hr", str(hr), "-s", "2")
    assert "first.png: was replaced since its LR" in message
    shutil.copytree(hr, tmp_path / "other")  # a folder that belongs to no LR pictures
    assert "unstated" in run(
        "quality", "--sr", sr, "--hr", str(tmp_path / "other"), "-s", "2", "--json"
    )
    assert "|lr:mine|" in run(
        "quality", "--sr", sr, "--hr", str(hr), "-s", "2", "--lr", "mine", "--json"
    )


def test_record_says_how_lr_pictures_came_about_and_scores_repeat_it(
    pictures: Path, tmp_path: Path
) -> None:
    folder, manifest = tmp_path / "set", tmp_path / "manifest.json"
    shutil.copytree(pictures, folder / "HR")
    signatures = {}
    for origin in ("made", "equal", "given"):
        if origin != "made":
            shutil.rmtree(folder / "LR_bicubic", ignore_errors=True)
            for hr in pictures.iterdir():
                lr = imresize(read_image(hr), 1 / 2) // (2 if origin == "given" else 1)
                write_png(folder / "LR/X2" / hr.name, lr)
            (folder / "LR/X2/prepared.json").unlink(missing_ok=True)
        run("prepare", str(folder), "--out", str(folder), "-s", "2", "--manifest", str(manifest))
        record = DatasetRecord.load(manifest)
        assert [picture.lr_origin for picture in record.pictures] == [origin] * 2
        sr = tmp_path / origin
        run("restore", "bicubic", "--data", str(folder), "-s", "2", "--out", str(sr))
        hr = str(folder / "HR")
        scored = json.loads(run("quality", "--sr", str(sr), "--hr", hr, "-s", "2", "--json"))
        signatures[origin] = scored["signatures"]["psnr"]
        assert f"|lr:{record.degradation}|" in signatures[origin]
    assert signatures["made"] == signatures["equal"] != signatures["given"]


def test_training_set_with_pictures_below_a_patch_is_told_when_it_is_prepared(
    pictures: Path, tmp_path: Path
) -> None:
    job = PrepareJob(
        name="set-x2", dataset="set", scale=2, source=str(pictures), folder=tmp_path / "set",
        output=tmp_path / "record.json", patch=24,
    )  # fmt: skip
    job.save(tmp_path / "job.json")
    told = refused("prepare", "--job", str(tmp_path / "job.json"))
    assert told.count("24x20 is smaller than the patch of 24") == 2
    assert not (tmp_path / "record.json").exists()


def test_pictures_in_subfolders_are_said_to_be_left_out(pictures: Path, tmp_path: Path) -> None:
    shutil.copytree(pictures, pictures / "more")
    for source in (pictures, tmp_path / "set"):
        done = RUNNER.invoke(
            app, ["prepare", str(source), "--out", str(tmp_path / "set"), "-s", "2"]
        )
        assert done.exit_code == 0
        assert ("more: not read" in done.stderr) == (source == pictures)


def test_all_bad_pictures_of_a_set_are_named(pictures: Path, tmp_path: Path) -> None:
    for name in ("bad", "worse"):
        (pictures / f"{name}.png").write_bytes(b"no picture")
    write_png(pictures / "tiny.png", np.zeros((1, 9, 3), np.uint8))
    for out in (tmp_path / "set", pictures):
        shutil.copytree(pictures, tmp_path / "in/HR", dirs_exist_ok=True)
        told = refused("prepare", str(tmp_path / "in"), "--out", str(out), "-s", "2")
        assert [line.split(": ")[0].rpartition("/")[2] for line in told.splitlines()] == [
            "bad.png", "tiny.png", "worse.png"
        ]  # fmt: skip


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


def test_psnr_of_pyiqa_has_a_name_of_its_own(pictures: Path) -> None:
    folders = ("--sr", str(pictures), "--hr", str(pictures), "-s", "2")
    plain = json.loads(run("quality", *folders, "--json"))
    more = json.loads(
        run("quality", *folders, "--device", "cpu", "--json",
            "--metrics", " PSNR,ssim, psnry,ssimc ,pyiqa_psnr,GMSD,")
    )  # fmt: skip
    assert plain["signatures"].items() <= more["signatures"].items()
    names = ["pyiqa_psnr", "pyiqa_ssim", "pyiqa_psnry", "pyiqa_ssimc", "gmsd"]
    assert list(more["signatures"])[len(plain["signatures"]) :] == names
    for picture, before in zip(more["pictures"], plain["pictures"], strict=True):
        assert list(picture["others"]) == names
        assert {**picture, "others": {}} == before


@pytest.mark.parametrize(
    ("metrics", "told"),
    [
        ("psnr_rgb", "psnr_rgb is always measured; leave it out"),
        ("SSIM_grey", "ssim_grey is always measured"),
        ("xyz", "no metric 'xyz'; the nearest of 106 are "),
        ("ms_ssim fsim", "no metric 'ms_ssim fsim'; did you mean 'ms_ssim'?"),
    ],
)
def test_a_wrong_metric_is_told_with_the_nearest_names(
    pictures: Path, metrics: str, told: str
) -> None:
    message = refused("quality", "--sr", str(pictures), "--hr", str(pictures), "-s", "2",
                      "--metrics", metrics)  # fmt: skip
    assert told in message
    assert len(message) < 150


def test_a_metric_that_fails_for_a_picture_has_no_mean(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    for name, side in (("small", 64), ("large", 192)):
        grey = noise.integers(0, 256, (side, side, 1), dtype=np.uint8).repeat(3, 2)
        write_png(tmp_path / "hr" / f"{name}.png", grey)
        write_png(tmp_path / "sr" / f"{name}_net.png", grey // 2)
    printed = run("quality", "--sr", str(tmp_path / "sr"), "--hr", str(tmp_path / "hr"), "-s", "2",
                  "--metrics", "ms_ssim,gmsd", "--device", "cpu")  # fmt: skip
    _, large, small, mean, why, *grey = printed.splitlines()
    assert "unavailable" not in large
    assert small.split()[-2] == mean.split()[-2] == "unavailable"
    assert float(mean.split()[-1]) > 0
    assert why.startswith("ms_ssim: no mean, as it is unavailable for small: RuntimeError: ")
    assert [line.split(";")[0] for line in grey] == [
        f"{name}: grey SR and HR, above as three equal channels" for name in ("large", "small")
    ]


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
        (("verify", "."), "no results folder"),
        (("complexity", "mine.py:", "-s", "2"), "mine.py:: must be file.py:function"),
        (("convert", "swinir_light", "--ratios", ""), "'' is not a number"),
        (("resolve", __file__, "--ablations", __file__), "test_verbs.py: "),
    ],
)
def test_bad_argument_is_told_in_a_sentence(arguments: tuple[str, ...], told: str) -> None:
    assert told in refused(*arguments)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ("complexity", "hit_sir", "-s", "4", "--output-size", "70000x720"),
            "output_size.0: must be at most 65536 (got 70000)",
        ),
        (
            ("latency", "hit_sir", "-s", "2", "--samples", "9" * 30),
            f"samples: must be at most 65536 (got {'9' * 30})",
        ),
        (
            ("prepare", ".", "-s", "2", "--out", __file__),
            f"{__file__}/HR/first.png: Not a directory",
        ),
    ],
)
def test_what_no_job_or_disk_takes_is_told_in_a_sentence(
    arguments: tuple[str, ...], told: str, monkeypatch: pytest.MonkeyPatch, pictures: Path
) -> None:
    monkeypatch.chdir(pictures)
    monkeypatch.setattr("sys.argv", ["hitsr", *arguments])
    with pytest.raises(SystemExit) as said:
        main()
    assert said.value.code == f"hitsr: {told}"


def test_resolved_names_are_listed_and_the_nearest_is_offered() -> None:
    config = str(Path(__file__).parents[2] / "configs" / "demo.yaml")
    assert "hit_sir-x2-s1" in run("resolve", config).splitlines()
    assert "did you mean 'hit_sir-x2-s1'" in refused("resolve", config, "hit_sir-x2-s3")
