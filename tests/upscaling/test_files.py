import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

import hitsr
from hitsr.base.errors import DataError, WeightsError
from hitsr.upscaling.files import upscale_bytes, upscale_files, upscale_picture
from hitsr.upscaling.inference import UpscaleOptions, upscale
from hitsr.upscaling.tasks import UpscaleTask, plan_tasks
from hitsr.upscaling.user_pictures import UserPicture, decode, encode


class Repeat(nn.Module):
    """Doubles by repeating samples, and remembers whether its three channels were equal."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.grey = False

    def forward(self, x: Tensor) -> Tensor:
        self.grey = torch.equal(x[:, 0], x[:, 1]) and torch.equal(x[:, 0], x[:, 2])
        return F.interpolate(x, scale_factor=2.0) * self.weight


def noise(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def _doubled(samples: np.ndarray) -> np.ndarray:
    return samples.repeat(2, 0).repeat(2, 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 3)])
def test_every_value_passes_unchanged(shape: tuple[int, ...], dtype: type):
    picture = UserPicture(noise(*shape, dtype=dtype), None, b"profile", "png")
    model = Repeat()
    found = upscale_picture(model, picture)
    assert found.colour.dtype == dtype
    np.testing.assert_array_equal(found.colour, _doubled(picture.colour))
    assert found.profile == b"profile"
    assert model.grey == (len(shape) == 2)


def test_all_65536_values_of_16_bits_survive_the_floats():
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    found = upscale_picture(Repeat(), UserPicture(every, None, None, "png"))
    np.testing.assert_array_equal(found.colour[::2, ::2], every)


def test_8_bit_colour_is_that_of_the_benchmarks():
    torch.manual_seed(0)
    network = hitsr.NETWORKS["swinir_light"].patch(
        {"depths": [2], "width": 12, "mixer.heads": 2, "windows": {"base": 4, "ratios": [1, 1]}}
    )
    model = hitsr.create(network, 2)
    colour = noise(7, 9, 3)
    found = upscale_picture(model, UserPicture(colour, None, None, "png")).colour
    np.testing.assert_array_equal(found, upscale(model, colour))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_opaque_stays_opaque_and_transparent_stays_transparent(dtype: type):
    alpha = np.zeros((6, 40), dtype)
    alpha[:, 20:] = np.iinfo(dtype).max
    picture = UserPicture(noise(6, 40, 3, dtype=dtype), alpha, None, "png")
    found = upscale_picture(Repeat(), picture).alpha
    assert found is not None
    assert found.shape == (12, 80)
    assert found.dtype == dtype
    assert (found[:, :36] == 0).all()
    assert (found[:, 44:] == np.iinfo(dtype).max).all()
    assert (np.diff(found[:, 38:42].astype(int)) >= 0).all()


class Linear(Repeat):
    """Doubles by interpolating linearly."""

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2.0, mode="bilinear") * self.weight


def disc(dtype: type, softness: float) -> np.ndarray:
    """Alpha of a disc with an edge as wide as `softness`, in pixels: (24, 24)."""
    y, x = np.mgrid[:24, :24] - 11.5
    opacity = np.clip((8 - np.hypot(x, y)) / max(softness, 1e-9) + 0.5, 0, 1)
    return np.rint(opacity * np.iinfo(dtype).max).astype(dtype)


def over(picture: UserPicture, background: float) -> np.ndarray:
    """The picture laid over a grey: (h, w, c) or (h, w), 0..1."""
    assert picture.alpha is not None
    largest = np.iinfo(picture.alpha.dtype).max
    opacity, colour = picture.alpha / largest, picture.colour / largest
    if colour.ndim == 3:
        opacity = opacity[..., None]
    return opacity * colour + (1 - opacity) * background


@pytest.mark.parametrize("softness", [0, 1, 4])
@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_hidden_colour_leaves_no_fringe(dtype: type, grey: bool, softness: float):
    alpha = disc(dtype, softness)
    colour = np.where(alpha > 0, np.iinfo(dtype).max, 0).astype(dtype)  # white, hidden black
    colour = colour if grey else np.dstack([colour] * 3)
    found = upscale_picture(Linear(), UserPicture(colour, alpha, None, "png"))
    for background in (0.0, 0.4, 1.0):
        assert found.alpha is not None
        opacity = found.alpha / np.iinfo(dtype).max
        mix = opacity + (1 - opacity) * background  # of white and the background
        laid = over(found, background)
        np.testing.assert_allclose(laid if grey else laid[..., 0], mix, atol=0.01)


def as_png(mode: str) -> bytes:
    """A white disc on hidden black, transparent in the way of a mode."""
    alpha = Image.fromarray(disc(np.uint8, 0))
    white = Image.merge("RGBA", [alpha] * 4)
    buffer = BytesIO()
    match mode:
        case "RGBA":
            white.save(buffer, "PNG")
        case "LA":
            white.convert("LA").save(buffer, "PNG")
        case "L key":
            alpha.save(buffer, "PNG", transparency=0)
        case "1 key":
            alpha.convert("1").save(buffer, "PNG", transparency=0)
        case "RGB key":
            white.convert("RGB").save(buffer, "PNG", transparency=(0, 0, 0))
        case "P index":
            alpha.convert("P").save(buffer, "PNG", transparency=0)
        case "P bytes":
            alpha.convert("P").save(buffer, "PNG", transparency=bytes([0, *[255] * 255]))
        case "WebP":
            white.save(buffer, "WEBP", lossless=True, exact=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "mode",
    ["RGBA", "LA", "L key", "1 key", "RGB key", "P index", "P bytes", "WebP"],
)
def test_no_fringe_however_transparency_is_stored(mode: str):
    written = upscale_bytes(Linear(), as_png(mode), "a")
    found = decode(written, "a")
    assert found.alpha is not None
    assert found.alpha.min() == 0
    assert over(found, 1.0).min() >= 0.99


def test_one_visible_pixel_gives_its_colour_and_none_changes_nothing():
    alpha = np.zeros((5, 6), np.uint8)
    colour = noise(5, 6, 3)
    found = upscale_picture(Repeat(), UserPicture(colour, alpha, None, "png"))
    np.testing.assert_array_equal(found.colour, _doubled(colour))
    alpha[1, 4] = 1
    found = upscale_picture(Repeat(), UserPicture(colour, alpha, None, "png"))
    assert (found.colour == colour[1, 4]).all()


def test_an_opaque_edge_mixes_the_nearest_colours():
    """Left of the hidden middle all is red, right of it all is blue: nothing else appears."""
    colour = np.zeros((4, 12, 3), np.uint8)
    colour[:, :4, 0] = 255
    colour[:, 8:, 2] = 255
    alpha = np.full((4, 12), 255, np.uint8)
    alpha[:, 4:8] = 0
    found = upscale_picture(Linear(), UserPicture(colour, alpha, None, "png")).colour.astype(int)
    assert (found[..., 0] + found[..., 2] >= 254).all()
    assert (found[:, :11, 0] == 255).all()
    assert (found[:, 13:, 2] == 255).all()


def test_diverged_weights_raise():
    model = Repeat()
    with torch.no_grad():
        model.weight.fill_(float("nan"))
    with pytest.raises(WeightsError, match="not finite"):
        upscale_picture(model, UserPicture(noise(2, 2), None, None, "png"))


def test_a_format_that_cannot_hold_the_picture_is_refused_before_the_network_runs():
    class Unused(Repeat):
        def forward(self, x: Tensor) -> Tensor:
            raise AssertionError(x)

    data = encode(UserPicture(noise(2, 2, 3), noise(2, 2), None, "png"), "png", "a")
    with pytest.raises(DataError, match=r"a\.png: jpeg holds no transparency"):
        upscale_bytes(Unused(), data, "a.png", "jpeg")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(150, 140), (150, 140, 3)])
def test_tiles_and_symmetries_keep_every_value(shape: tuple[int, ...], dtype: type):
    alpha = noise(150, 140, dtype=dtype)
    picture = UserPicture(noise(*shape, dtype=dtype), alpha, b"profile", "png")
    found = upscale_picture(Repeat(), picture, UpscaleOptions(128, self_ensemble=True), quiet=True)
    visible = _doubled(alpha) > 0
    np.testing.assert_array_equal(found.colour[visible], _doubled(picture.colour)[visible])
    assert found.alpha is not None
    assert found.alpha.shape == (300, 280)


def test_too_little_memory_raises():
    class Greedy(Repeat):
        def forward(self, x: Tensor) -> Tensor:
            return torch.empty(2**58 * len(x))

    data = encode(UserPicture(noise(2, 3), None, None, "png"), "png", "a")
    with pytest.raises(DataError, match=r"a\.png: 3x2 needs more memory"):
        upscale_bytes(Greedy(), data, "a.png")


def test_after_a_bad_picture_others_go_on_and_existing_outputs_are_kept(tmp_path: Path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    good = UserPicture(noise(3, 4, 3), None, None, "png")
    for name in ("a", "c"):
        (folder / f"{name}.png").write_bytes(encode(good, "png", name))
    (folder / "b.png").write_bytes(b"damaged")
    tasks = plan_tasks([str(folder)], out)

    first = upscale_files(Repeat(), tasks, quiet=True)
    assert [outcome.state for outcome in first] == ["written", "failed", "written"]
    assert str(folder / "b.png") in first[1].reason
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "c.png"]

    (out / "a.png").write_bytes(b"mine")
    again = upscale_files(Repeat(), tasks, quiet=True)
    assert [outcome.state for outcome in again] == ["kept", "failed", "kept"]
    assert (out / "a.png").read_bytes() == b"mine"
    upscale_files(Repeat(), tasks, overwrite=True, quiet=True)
    found = decode((out / "a.png").read_bytes(), "a")
    np.testing.assert_array_equal(found.colour, _doubled(good.colour))


def _refused(model: nn.Module, source: Path, target: Path) -> str:
    """The reason why a picture fails."""
    (outcome,) = upscale_files(model, [UpscaleTask(source, target, "png")], quiet=True)
    assert outcome.state == "failed"
    return outcome.reason


def test_what_cannot_be_read_or_written_is_named(tmp_path: Path):
    good = tmp_path / "good.png"
    good.write_bytes(encode(UserPicture(noise(3, 4, 3), None, None, "png"), "png", "a"))
    names = ("loop.png", "pipe.png", "folder.png", "absent.png", "text.txt", "line\n\udcff.png")
    loop, pipe, folder, absent, text, odd = (tmp_path / name for name in names)
    loop.symlink_to(loop.name)
    os.mkfifo(pipe)
    folder.mkdir()
    text.touch()
    odd.touch()
    for source, told in (
        (loop, "loop.png: cannot be read: Too many levels of symbolic links; check the path"),
        (pipe, "pipe.png: cannot be read: it is a device or pipe; check the path"),
        (folder, "folder.png: is a folder without a picture, or cannot be read"),
        (absent, "absent.png: cannot be read: No such file or directory; check the path"),
        (text, "text.txt: not a known picture format; it must be png"),
        (odd, r"line\n\udcff.png: truncated or damaged, or not a picture of type png, jpeg"),
    ):
        reason = _refused(Repeat(), source, tmp_path / "out.png")
        assert reason.startswith(f"{tmp_path}/{told}")
    in_the_way = tmp_path / "taken.png"
    in_the_way.mkdir()
    assert "taken.png: is a folder, not a picture" in _refused(Repeat(), good, in_the_way)
    long = tmp_path / f"{'n' * 300}.png"
    assert "cannot be written: File name too long" in _refused(Repeat(), good, long)
    assert "a.png: cannot be written: Not a directory" in _refused(Repeat(), good, good / "a.png")


def test_a_picture_too_large_for_the_memory_costs_only_itself(tmp_path: Path):
    class Full(Repeat):
        def forward(self, x: Tensor) -> Tensor:
            raise AssertionError(x)

    def allocate(*_: object, **__: object) -> None:
        raise MemoryError

    good = tmp_path / "good.png"
    good.write_bytes(encode(UserPicture(noise(3, 4, 3), None, None, "png"), "png", "a"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hitsr.upscaling.files.decode", allocate)
        reason = _refused(Full(), good, tmp_path / "out.png")
    assert reason == f"{good}: needs more memory than there is"


def test_an_upscaled_picture_too_large_for_its_format_is_refused_before_the_network_runs():
    network = hitsr.NETWORKS["swinir_light"].patch(
        {"depths": [2], "width": 12, "mixer.heads": 2, "windows": {"base": 4, "ratios": [1, 1]}}
    )
    data = encode(UserPicture(np.zeros((1, 40000), np.uint8), None, None, "png"), "png", "a")
    model = hitsr.create(network, 2)
    with pytest.raises(DataError, match="a: jpeg holds 65535 pixels a side, this has 80000x2"):
        upscale_bytes(model, data, "a", "jpeg")


def test_batches_write_the_same_files_and_each_picture_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class Fragile(Repeat):
        def forward(self, x: Tensor) -> Tensor:
            bright = x.mean((1, 2, 3), keepdim=True) > 0.9
            return super().forward(x) * torch.where(bright, torch.nan, 1.0)

    folder = tmp_path / "in"
    folder.mkdir()
    colours = {
        "a": noise(6, 4, 3),
        "b": np.full((6, 4, 3), 255, np.uint8),
        "c": noise(6, 4),
        "d": noise(6, 4, 3, dtype=np.uint16),
        "f": noise(4, 6, 3),
    }
    for name, colour in colours.items():
        picture = UserPicture(colour, noise(*colour.shape[:2]).astype(colour.dtype), None, "png")
        (folder / f"{name}.png").write_bytes(encode(picture, "png", name))
    (folder / "e.png").write_bytes(b"damaged")

    def outcomes(out: str) -> list[tuple[str, str]]:
        found = upscale_files(Fragile(), plan_tasks([str(folder)], tmp_path / out), quiet=True)
        return [(outcome.task.target.name, outcome.state) for outcome in found]

    alone = outcomes("alone")
    assert alone == [(f"{name}.png", "failed" if name in "be" else "written") for name in "abcdef"]
    monkeypatch.setattr("hitsr.upscaling.inference.batch_for_memory", lambda *_: 8)
    assert outcomes("together") == alone
    for path in (tmp_path / "alone").iterdir():
        assert path.read_bytes() == (tmp_path / "together" / path.name).read_bytes()
