import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

import hitsr
from hitsr.base.errors import DataError, SpecError, WeightsError
from hitsr.data.images import Picture
from hitsr.upscaling import inference
from hitsr.upscaling.inference import upscale


class Nearest(nn.Module):
    """Upscales by 2 by repeating pixels, times a gain; checks that it runs in eval mode."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(self, x: Tensor) -> Tensor:
        assert not self.training
        return (x * self.gain).repeat_interleave(2, 2).repeat_interleave(2, 3)


class Slanted(nn.Module):
    """Upscales by 2 with a convolution whose result depends on the picture's orientation."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 12, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(x), 2)


def _picture(height: int, width: int) -> Picture:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_output_is_upscaled_clamped_and_rounded():
    lr = _picture(5, 7)
    sr = upscale(Nearest(1.3), lr)
    exact = np.clip(lr * 1.3, 0, 255).repeat(2, 0).repeat(2, 1)
    assert sr.dtype == np.uint8
    assert sr.shape == (10, 14, 3)
    assert np.abs(sr - exact).max() <= 0.5 + 1e-4


def test_a_model_in_training_goes_back_to_training():
    model = Nearest().train()
    upscale(model, _picture(3, 3))
    assert model.training
    upscale(model.eval(), _picture(3, 3))
    assert not model.training


def test_each_part_of_a_model_keeps_its_own_mode():
    model = nn.Sequential(Nearest(), nn.Identity()).train()
    model[1].eval()
    upscale(model, _picture(3, 3))
    assert [model.training, *(part.training for part in model)] == [True, True, False]


@pytest.mark.parametrize(
    "made",
    [
        lambda lr: np.asfortranarray(lr),
        lambda lr: np.ascontiguousarray(lr[::-1, ::-1, ::-1])[::-1, ::-1, ::-1],
        lambda lr: np.frombuffer(lr.tobytes(), np.uint8).reshape(lr.shape),  # read-only
        lambda lr: lr.astype(np.uint16) * 257,
    ],
)
def test_a_picture_may_lie_in_memory_as_it_will_and_have_16_bits(made):
    lr = _picture(5, 7)
    assert np.array_equal(upscale(Nearest(), made(lr)), upscale(Nearest(), lr))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (4, 6)])
def test_a_grey_picture_stands_for_three_equal_channels(size: tuple[int, int]):
    grey = _picture(*size)[..., 0]
    expected = upscale(Nearest(), np.repeat(grey[..., None], 3, 2))
    assert np.array_equal(upscale(Nearest(), grey), expected)


@pytest.mark.parametrize(
    ("lr", "got"),
    [
        *((_picture(4, 6).astype(each), rf"\(4, 6, 3\) {each}") for each in (
            "int8", "int16", "int32", "int64", "uint32", "uint64", "float16", "float32", "bool",
            "complex64", "object",
        )),
        (_picture(4, 6).transpose(2, 0, 1), r"\(3, 4, 6\) uint8"),
        (np.zeros((4, 6, 4), np.uint8), r"\(4, 6, 4\)"),
        (np.zeros((4, 6, 1), np.uint8), r"\(4, 6, 1\)"),
        (np.zeros((1, 4, 6, 3), np.uint8), r"\(1, 4, 6, 3\)"),
        (np.zeros((0, 6, 3), np.uint8), r"\(0, 6, 3\)"),
        (np.zeros((4, 0), np.uint8), r"\(4, 0\)"),
        (np.zeros(5, np.uint8), r"\(5,\)"),
        (np.uint8(3), "uint8"),
        (_picture(4, 6).tolist(), "list"),
        (torch.zeros(3, 4, 6), r"Tensor \(3, 4, 6\) torch.float32"),
        (Image.new("RGB", (6, 4)), "Image"),
        (None, "NoneType"),
        ("a.png", "str"),
    ],
)  # fmt: skip
def test_what_is_no_picture_is_refused_in_a_sentence(lr: object, got: str):
    shape, types = r"\(h, w, 3\) RGB or \(h, w\) grey", r"0\.\.255 in uint8 or 0\.\.65535 in uint16"
    message = rf"^lr must be a NumPy array, not empty, {shape}, {types}, got {got}[^\n]*$"
    with pytest.raises(ValueError, match=message):
        upscale(Nearest(), lr)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_the_picture_gets_the_model_s_type(dtype: torch.dtype):
    lr = _picture(8, 9)
    exact = upscale(Slanted(), lr).astype(int)
    assert np.abs(upscale(Slanted().to(dtype), lr) - exact).max() <= 4  # bfloat16 has 8 bits
    assert np.abs(upscale(Slanted().to(dtype), lr, self_ensemble=True, quiet=True)).any()


def test_a_network_of_hitsr_upscales_in_bfloat16():
    model, lr = hitsr.create("swinir_light", 2), _picture(8, 9)
    exact = upscale(model, lr).astype(int)
    assert np.abs(upscale(model.bfloat16(), lr) - exact).mean() < 2


def test_an_overflow_of_float16_blames_no_weights():
    with pytest.raises(WeightsError, match=r"float16 does not hold .* use model\.float\(\)"):
        upscale(nn.Sequential(Nearest(300.0), Nearest(300.0)).half(), _picture(3, 3))


def test_a_model_without_parameters_upscales():
    lr = _picture(3, 4)
    assert np.array_equal(upscale(nn.Upsample(scale_factor=2), lr), lr.repeat(2, 0).repeat(2, 1))


def _mixed() -> nn.Module:
    model = nn.Sequential(Slanted(), Slanted())
    model[1].double()
    return model


def _split() -> nn.Module:
    return nn.Sequential(Slanted(), Slanted().to("meta"))


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (_mixed(), "parameters are torch.float32 and torch.float64; they must all have one"),
        (_split(), "the model is on cpu and meta; it must be on one device"),
        (Slanted().to("meta"), "the model is on meta; it must be on one device, with values"),
        (Slanted().to(torch.float8_e5m2), "parameters are torch.float8_e5m2"),
        ("hit_sir", "model must be a torch.nn.Module, such as hitsr.create makes; got str"),
    ],
)
def test_a_model_that_cannot_take_a_picture_is_refused(model: nn.Module, told: str):
    with pytest.raises(ValueError, match=told):
        upscale(model, _picture(3, 3))
    with pytest.raises(ValueError, match=told):
        hitsr.local_attribution(model, torch.rand(1, 3, 8, 8), (0, 0, 4))


@pytest.mark.parametrize("tile", ["all", 1.5, None])
def test_a_tile_that_is_no_number_is_refused(tile: object):
    with pytest.raises(SpecError, match="must be a number of LR pixels, 0 or 'auto'"):
        upscale(Nearest(), _picture(3, 3), tile=tile)


def test_diverged_weights_raise():
    with pytest.raises(WeightsError, match="not finite"):
        upscale(Nearest(float("nan")), _picture(3, 3))


def test_tiles_make_the_same_picture(capsys: pytest.CaptureFixture[str]):
    lr = _picture(150, 310)
    assert np.array_equal(upscale(Nearest(), lr, tile=128), upscale(Nearest(), lr, tile=0))
    message = capsys.readouterr().err
    assert message.startswith("tiles of 128: 8/8 tile")


@pytest.mark.parametrize("tile", [0, 128])
def test_the_self_ensemble_rotates_with_the_picture(tile: int):
    lr, model = _picture(150, 140), Slanted()

    def difference(self_ensemble: bool) -> int:
        """Largest difference between rotating before and after upscaling."""
        upright, rotated = (
            upscale(model, each, tile=tile, self_ensemble=self_ensemble, quiet=True).astype(int)
            for each in (lr, np.ascontiguousarray(np.rot90(lr)))
        )
        return int(np.abs(np.rot90(upright) - rotated).max())

    assert difference(self_ensemble=False) > 50
    assert difference(self_ensemble=True) <= 1  # the order of additions may change the rounding


class Confined(Nearest):
    """Raises PyTorch's out-of-memory error for pictures of more than `most` pixels."""

    def __init__(self, most: int, error: str = "DefaultCPUAllocator: not enough memory") -> None:
        super().__init__()
        self.most, self.error, self.sides = most, error, list[int]()

    def forward(self, x: Tensor) -> Tensor:
        self.sides.append(max(x.shape[2:]))
        if x.shape[2] * x.shape[3] > self.most:
            raise RuntimeError(self.error)
        return super().forward(x)


def test_tiles_are_halved_with_a_message_if_memory_runs_out(capsys):
    lr, model = _picture(300, 620), Confined(300**2)
    assert np.array_equal(upscale(model, lr, tile="auto"), lr.repeat(2, 0).repeat(2, 1))
    message = capsys.readouterr().err.splitlines()
    assert "out of memory; continuing in tiles of 310" in message
    assert "out of memory; continuing in tiles of 155" in message


def test_too_little_memory_for_any_tile_raises():
    with pytest.raises(DataError, match="620x300 needs more memory than there is, even in tiles"):
        upscale(Confined(100), _picture(300, 620), quiet=True)


def test_tile_0_never_uses_tiles():
    with pytest.raises(DataError, match="needs more memory than there is without tiles"):
        upscale(Confined(100), _picture(300, 620), tile=0)


def test_other_errors_are_raised_unchanged():
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        upscale(Confined(100, "shapes do not fit"), _picture(300, 620))


class Wary(Nearest):
    """Runs out of memory, as CUDA does, with more than `most` pictures; notes the batches."""

    def __init__(self, most: int = 99) -> None:
        super().__init__()
        self.most, self.batches = most, list[int]()

    def forward(self, x: Tensor) -> Tensor:
        self.batches.append(len(x))
        if len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return super().forward(x)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch):
    """A function that sets how many pictures go through a network at once, as on CUDA."""

    def set_batch(most: int) -> None:
        monkeypatch.setattr(inference, "batch_for_memory", lambda *_: most)

    return set_batch


def test_tiles_of_a_row_go_through_together(at_once):
    lr = _picture(150, 310)
    alone, together = Wary(), Wary()
    expected = upscale(alone, lr, tile=128, quiet=True)
    at_once(2)
    assert np.array_equal(upscale(together, lr, tile=128, quiet=True), expected)
    assert alone.batches == [1] * 8
    assert together.batches == [2, 1, 1, 2, 1, 1]  # three tiles of 128, and a narrower one, twice


def test_a_picture_alone_is_never_asked_how_many_fit(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(inference, "batch_for_memory", None)
    assert upscale(Wary(), _picture(5, 7)).shape == (10, 14, 3)


def test_symmetries_together_are_those_one_by_one(at_once):
    lr, model = _picture(9, 14), Slanted()
    expected = upscale(model, lr, self_ensemble=True).astype(int)
    at_once(8)
    together = upscale(model, lr, self_ensemble=True).astype(int)
    assert np.abs(together - expected).max() <= 1  # the order of additions may change the rounding


def test_one_tile_at_a_time_if_memory_runs_out_with_several(at_once, capsys):
    at_once(3)
    lr, model = _picture(150, 310), Wary(1)
    assert np.array_equal(upscale(model, lr, tile=128), lr.repeat(2, 0).repeat(2, 1))
    assert "out of memory; continuing with one tile at a time" in capsys.readouterr().err
    assert model.batches == [3, *[1] * 8]


def test_tiles_of_equal_size_share_a_graph(graphs_on_cpu):
    """Tiles have four sizes at most; the only one in the corner is not worth a graph."""
    small = {"depths": [1], "width": 12, "mixer.heads": 2, "windows.ratios": [1]}
    network = hitsr.NETWORKS["swinir_light"].patch(small)
    plain, graphed = (hitsr.create(network, 2, autocast=True, graph=on) for on in (False, True))
    graphed.load_state_dict(plain.state_dict())
    lr = _picture(300, 300)
    expected, found = (upscale(each, lr, tile=128, quiet=True) for each in (plain, graphed))
    assert np.array_equal(found, expected)
    assert (graphs_on_cpu.captures, graphs_on_cpu.replays) == (3, 12)  # of sixteen tiles
