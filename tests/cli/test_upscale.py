"""Upscaling and exporting as a user meets them, run in this process."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import hitsr
from hitsr.base.errors import HitsrError
from hitsr.cli import app
from hitsr.models.checkpoints import save_weights
from hitsr.upscaling.user_pictures import UserPicture, decode, encode

RUNNER = CliRunner()
SMALL = {"depths": [2], "width": 12, "mixer.heads": 2, "windows": {"base": 4, "ratios": [1, 1]}}


@pytest.fixture
def network(tmp_path: Path) -> list[str]:
    """The options that name a small network with weights."""
    spec = hitsr.NETWORKS["swinir_light"].patch(SMALL)
    torch.manual_seed(0)
    save_weights(hitsr.create(spec, 2), tmp_path / "weights.safetensors", {})
    (tmp_path / "spec.json").write_text(spec.to_json())
    named = ["--network", str(tmp_path / "spec.json"), "--scale", "2"]
    return [*named, "--weights", str(tmp_path / "weights.safetensors")]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    samples = np.random.default_rng(0).integers(0, 2**16, (6, 5, 4), np.uint16)
    deep = UserPicture(samples[..., :3], samples[..., 3], b"profile", "png")
    (folder / "deep.png").write_bytes(encode(deep, "png", "deep"))
    grey = UserPicture(samples[..., 0].astype(np.uint8), None, None, "png")
    (folder / "grey.jpg").write_bytes(encode(grey, "jpeg", "grey"))
    return folder


def refused(*arguments: str) -> str:
    result = RUNNER.invoke(app, arguments)
    assert isinstance(result.exception, HitsrError), (result.output, result.exception)
    return str(result.exception)


def test_a_folder_is_upscaled_as_it_is(network: list[str], pictures: Path, tmp_path: Path):
    out = tmp_path / "out"
    result = RUNNER.invoke(
        app, ["upscale", str(pictures), *network, "--out", str(out), "--gallery"]
    )
    assert result.exit_code == 0, result.output
    files = [out / name for name in ("deep.png", "grey.jpg", "gallery.html")]
    assert result.stdout.splitlines() == [str(file) for file in files]
    deep = decode(files[0].read_bytes(), "deep")
    assert (deep.colour.shape, deep.depth, deep.profile) == ((12, 10, 3), 16, b"profile")
    assert deep.alpha is not None
    assert decode(files[1].read_bytes(), "grey").colour.shape == (12, 10)


def test_one_bad_picture_is_told_at_the_end(network: list[str], pictures: Path, tmp_path: Path):
    (pictures / "bad.png").write_bytes(b"damaged")
    result = RUNNER.invoke(app, ["upscale", str(pictures), *network, "--out", str(tmp_path / "o")])
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 2
    assert "bad.png: truncated or damaged" in result.stderr
    assert "1 of 3 pictures failed" in result.stderr


def test_every_bad_input_costs_only_itself(network: list[str], pictures: Path, tmp_path: Path):
    samples = np.random.default_rng(0).integers(0, 2**16, (6, 5, 3), np.uint16)
    deep = encode(UserPicture(samples, None, None, "png"), "tiff", "deep")
    shallow = (pictures / "grey.jpg").read_bytes()
    good = {"deep.png": None, "grey.jpg": None, "deep.tif": deep, "new\nline.jpg": shallow,
            "n\udcff.jpg": shallow, "a/x.jpg": shallow, "b/x.jpg": shallow}  # fmt: skip
    bad = {"cut.jpg": shallow[:-100], "empty.png": b"", "text.png": b"text"}
    for name, data in (good | bad).items():
        (pictures / name).parent.mkdir(exist_ok=True)
        if data is not None:
            (pictures / name).write_bytes(data)
    (pictures / "four.gif").touch()
    (pictures / "loop.png").symlink_to("loop.png")
    (pictures / "nowhere.png").symlink_to("nothing")
    (pictures / "folder.png").mkdir()
    os.mkfifo(pictures / "pipe.png")
    named = [*bad, "loop.png", "nowhere.png", "folder.png", "pipe.png"]
    out = tmp_path / "out"

    result = RUNNER.invoke(
        app, ["upscale", str(pictures), *network, "--out", str(out), "--gallery"]
    )
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 1
    lines = [*(out / name for name in sorted(good)), out / "gallery.html"]
    assert result.stdout_bytes == b"".join(os.fsencode(line) + b"\n" for line in lines)
    for name in good:
        assert decode((out / name).read_bytes(), name).colour.shape[:2] == (12, 10)
    failures = [line for line in result.stderr.splitlines() if line.startswith("hitsr: ")]
    assert sorted(Path(line.split(": ")[1]).name for line in failures) == sorted(named)
    assert result.stderr.endswith(f"{len(named)} of {len(named) + len(good)} pictures failed\n")
    assert f"{pictures / 'four.gif'}: skipped, not a known picture format" in result.stderr


def test_failures_are_told_even_if_there_is_no_room_for_the_gallery(
    network: list[str], pictures: Path, tmp_path: Path
):
    (pictures / "bad.png").write_bytes(b"damaged")
    (tmp_path / "out/gallery.html").mkdir(parents=True)
    out = ["--out", str(tmp_path / "out"), "--gallery"]
    result = RUNNER.invoke(app, ["upscale", str(pictures), *network, *out])
    assert isinstance(result.exception, OSError)
    assert "bad.png: truncated or damaged" in result.stderr


def test_a_gallery_without_a_template_is_refused_before_any_work(
    network: list[str], pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("hitsr.upscaling.gallery.TEMPLATES", tmp_path / "none")
    out = tmp_path / "out"
    told = refused("upscale", str(pictures), *network, "--out", str(out), "--gallery")
    assert told.startswith("--gallery: needs")
    assert not out.exists()


def test_a_file_is_no_folder_for_outputs(network: list[str], pictures: Path):
    taken = pictures / "deep.png"
    told = refused("upscale", str(pictures), *network, "--out", str(taken))
    assert told == f"--out {taken}: is a file; name a folder for the upscaled pictures"


def test_tiles_and_symmetries_are_asked_for(network: list[str], pictures: Path, tmp_path: Path):
    """Where the picture turns, the mean over its symmetries turns, whatever the tiles."""
    made = []
    for turns in (0, 1):
        folder, out = tmp_path / f"in{turns}", tmp_path / f"out{turns}"
        folder.mkdir()
        colour = np.rot90(decode((pictures / "deep.png").read_bytes(), "deep").colour, turns)
        picture = UserPicture(np.ascontiguousarray(colour), None, None, "png")
        (folder / "a.png").write_bytes(encode(picture, "png", "a"))
        options = ["--tile", "128", "--self-ensemble", "--out", str(out)]
        result = RUNNER.invoke(app, ["upscale", str(folder), *network, *options])
        assert result.exit_code == 0, result.output
        made.append(decode((out / "a.png").read_bytes(), "a").colour.astype(int))
    assert np.abs(np.rot90(made[0]) - made[1]).max() <= 2  # of 65535: the order of additions


def test_tiles_too_small_for_the_network_are_refused(network: list[str], pictures: Path):
    told = refused("upscale", str(pictures), *network, "--out", "o", "--tile", "16")
    assert "tile 16: this network needs tiles of 128 LR pixels or more" in told


def test_stdin_goes_to_stdout(network: list[str], pictures: Path):
    data = (pictures / "deep.png").read_bytes()
    result = RUNNER.invoke(app, ["upscale", "-", *network, "--format", "tiff"], input=data)
    assert result.exit_code == 0, result.output
    found = decode(result.stdout_bytes, "stdout")
    assert (found.format, found.depth, found.colour.shape) == ("tiff", 16, (12, 10, 3))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["absent.png", "--out", "o"], "absent.png: no such file or folder"),
        (["-", "x.png"], "stdin must be the only input"),
        (["-", "--out", "o"], "stdin goes to stdout"),
        (["."], "--out: name a folder"),
        ([".", "--out", "o", "--format", "gif"], "--format gif: must be one of png"),
        ([".", "--out", "o", "--tile", "many"], "--tile many: must be a number of pixels"),
        ([".", "--out", "o", "--scale", "5"], "--scale 5: must be 2, 3 or 4"),
        ([".", "--out", "o", "--network", "hit_sirr"], "did you mean 'hit_sir'"),
        ([".", "--out", "o", "--weights", "absent.pth"], "absent.pth: no such file"),
    ],
)
def test_a_bad_argument_is_told_in_a_sentence(network: list[str], arguments: list[str], told: str):
    assert told in refused("upscale", *network, *arguments)


def test_bad_arguments_are_told_without_torch(tmp_path: Path):
    weights = tmp_path / "weights.pth"
    weights.touch()
    code = (
        "import sys\nfrom hitsr.cli import app\nfrom hitsr.base.errors import HitsrError\n"
        "try: app(sys.argv[1:])\n"
        "except HitsrError as error: print(error, 'torch' in sys.modules)"
    )
    options = ["--network", "hit_sir", "-s", "2", "--weights", str(weights), "--out", str(tmp_path)]
    arguments = ["upscale", "absent.png", *options]
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ("absent.png: no such file or folder; check the path False")


def test_weights_of_another_scale_are_refused(network: list[str], pictures: Path, tmp_path: Path):
    told = refused("upscale", str(pictures), *network, "--scale", "3", "--out", str(tmp_path / "o"))
    assert "weights of another network or scale than swinir_light x3" in told


def test_export_writes_a_folder_that_is_read_back(network: list[str], tmp_path: Path):
    out = tmp_path / "exported"
    result = RUNNER.invoke(app, ["export", *network, "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md", "config.json", "model.safetensors",
    ]  # fmt: skip
    x = torch.rand(1, 3, 6, 7)
    expected = hitsr.create(hitsr.NETWORKS["swinir_light"].patch(SMALL), 2).eval()
    hitsr.load_weights(expected, tmp_path / "weights.safetensors")
    with torch.inference_mode():
        assert torch.equal(hitsr.from_pretrained(out)(x), expected(x))


def test_export_for_basicsr_is_read_back_and_refuses_what_its_code_lacks(
    network: list[str], tmp_path: Path
):
    out = tmp_path / "exported"
    told = ("export", *network, "--out", str(out), "--format", "basicsr")
    result = RUNNER.invoke(app, told)
    assert result.exit_code == 0, result.output
    assert {path.name for path in out.iterdir()} == {"README.md", "config.json", "model.pth"}
    assert "type: SwinIR\n" in (out / "README.md").read_text()
    found, expected = (
        hitsr.create(hitsr.NETWORKS["swinir_light"].patch(SMALL), 2) for _ in range(2)
    )
    hitsr.load_weights(expected, tmp_path / "weights.safetensors")
    hitsr.load_weights(found, out / "model.pth")
    for key, value in found.state_dict().items():
        assert torch.equal(value, expected.state_dict()[key])

    changed = found.network.patch({"mixer.position": "none"})
    (tmp_path / "none.json").write_text(changed.to_json())
    named = ("--network", str(tmp_path / "none.json"), *told[3:])
    assert "mixer.position is table, not none" in refused("export", *named)


def test_autocast_moves_samples_a_little(network: list[str], pictures: Path, tmp_path: Path):
    found = []
    for way in ([], ["--autocast"]):
        out = tmp_path / f"out{len(way)}"
        result = RUNNER.invoke(app, ["upscale", str(pictures), *network, "--out", str(out), *way])
        assert result.exit_code == 0, result.output
        found.append(decode((out / "deep.png").read_bytes(), "deep").colour.astype(int))
    difference = np.abs(found[0] - found[1])
    assert 0 < difference.max() < 0.05 * 2**16


def test_no_compiler_is_told(
    network: list[str], pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CXX", "none")
    asked = ("upscale", str(pictures), *network, "--out", str(tmp_path / "out"), "--compile")
    assert "needs a C++ compiler" in refused(*asked)


def test_graphs_need_cuda_and_go_alone(network: list[str], pictures: Path, tmp_path: Path):
    asked = ("upscale", str(pictures), *network, "--out", str(tmp_path / "out"), "--graph")
    assert "--graph: the device is cpu; CUDA graphs need" in refused(*asked, "--device", "cpu")
    assert "--compile and --graph: choose one" in refused(*asked, "--compile")


def test_pictures_upscaled_by_graphs_are_the_same(
    network: list[str], pictures: Path, tmp_path: Path, graphs_on_cpu
):
    asked = ["upscale", str(pictures), *network, "--device", "cpu", "--autocast"]
    asked += ["--self-ensemble"]  # of eight views, four have the same size
    for name, more in (("plain", []), ("graphs", ["--graph"])):
        RUNNER.invoke(app, [*asked, *more, "--out", str(tmp_path / name)], catch_exceptions=False)
    assert graphs_on_cpu.replays > 0
    for name in ("deep.png", "grey.jpg"):
        assert (tmp_path / "graphs" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
