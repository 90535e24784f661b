"""Networks of one's own, by file, by installed package, and what is refused."""

from pathlib import Path

import pytest
import torch

from hitsr.base.errors import SpecError, WeightsError
from hitsr.models.own import check_takes, load_own
from hitsr.specs.source import is_source

NEAREST = """
import torch
from torch import nn

def build(scale):
    return nn.Upsample(scale_factor=scale)

def wrong(scale):
    return nn.Upsample(scale_factor=scale + 1)

def nothing(scale):
    return None

class Own(nn.Module):
    def __init__(self, scale, forward=lambda own, x: own(x)):
        super().__init__()
        self.up, self.way, self.bias = nn.Upsample(scale_factor=scale), forward, nn.Parameter(ZERO)

    def forward(self, x):
        return self.way(self.up, x) + self.bias

ZERO = torch.zeros(1)

def in_blocks(own, x):
    h, w = x.shape[-2:]
    return own(x.view(-1, 3, h // 8, 8, w // 8, 8).reshape(-1, 3, h, w))

def padded(own, x):
    scale = int(own.scale_factor)
    large = own(nn.functional.pad(x, (32, 32, 32, 32), mode="reflect"))
    return large[..., 32 * scale : -32 * scale, 32 * scale : -32 * scale]

def eights(scale):
    return Own(scale, in_blocks)

def cropping(scale):
    return Own(scale, lambda own, x: own(x[..., : x.shape[-2] // 4 * 4, : x.shape[-1] // 4 * 4]))

def large(scale):
    return Own(scale, padded)

def diverged(scale):
    own = Own(scale)
    own.bias.data *= float("nan")
    return own

class Changed(nn.Upsample):
    def forward(self, x):
        return self.change(super().forward(x))

def changed(scale, change):
    own = Changed(scale_factor=scale)
    own.change = change
    return own

def several(scale):
    return changed(scale, lambda out: (out, out))

def not_finite(scale):
    return changed(scale, lambda out: out / 0)

def double(scale):
    return changed(scale, torch.Tensor.double)

def half(scale):
    return changed(scale, lambda out: nn.functional.conv2d(out, torch.ones(3, 3, 1, 1).half()))

def without():
    return Own(2)

def factor(factor):
    return Own(factor)

def raising(scale):
    return {}["weights"]

def ending(scale):
    raise SystemExit(2)

def at_end_of_file(scale):
    raise EOFError

def any_words(**words):
    return Own(**words)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(NEAREST)
    return path


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_function_in_a_file_makes_a_network_in_eval_mode(file: Path, scale: int) -> None:
    model = load_own(f"{file}:build", scale)
    assert not model.training
    assert model(torch.zeros(2, 3, 5, 7)).shape == (2, 3, 5 * scale, 7 * scale)


def test_function_of_an_importable_package_makes_a_network(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(file.parent)
    assert load_own("mine:build", 3)(torch.zeros(1, 3, 2, 2)).shape == (1, 3, 6, 6)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("biuld", "no function 'biuld' there; did you mean 'build'"),
        ("wrong", r"made \(1, 3, 48, 72\) of \(1, 3, 16, 24\); at x2 want \(1, 3, 32, 48\)"),
        ("nothing", "made NoneType, want a torch.nn.Module"),
        ("several", r"made tuple of \(1, 3, 16, 24\); want a tensor \(1, 3, 32, 48\)"),
        ("not_finite", "made values that are not finite"),
        ("diverged", "bias is not finite"),
        ("double", r"made torch\.float64; want torch\.float32"),
        ("half", r"failed on \(1, 3, 16, 24\): RuntimeError"),
        ("without", "cannot be called with `scale=2` alone: .* give it one parameter `scale`"),
        ("factor", "cannot be called with `scale=2` alone"),
        ("raising", r"raising: failed in line \d+: KeyError: 'weights'"),
        ("ending", r"failed in line \d+: it ends the program"),
        ("at_end_of_file", r"failed in line \d+: EOFError"),
    ],
)
def test_what_does_not_upscale_is_refused(file: Path, name: str, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        load_own(f"{file}:{name}", 2)


@pytest.mark.parametrize("name", ["eights", "cropping", "large", "any_words"])
def test_what_needs_large_or_even_pictures_may_be_counted_and_timed(file: Path, name: str) -> None:
    load_own(f"{file}:{name}", 2)


@pytest.mark.parametrize(
    ("name", "sizes", "told"),
    [
        (
            "eights",
            [(64, 48), (24, 35)],
            "pictures of 35x24: .*multiples of 8: let your network pad",
        ),
        ("eights", [(1024, 1001)], "pictures of 1001x1024: .*multiples of 8"),
        ("cropping", [(1024, 1001)], r"pictures of 1001x1024: made .*multiples of 4"),
        ("large", [(100, 20)], r"pictures of 20x100: failed .*; let your network pad"),
        ("eights", [(64, 48), (1024, 800)], None),
        ("large", [(101, 203), (40, 1001)], None),
        ("build", [(1, 1), (1001, 3)], None),
    ],
)
def test_sizes_that_a_network_cannot_take_are_told_with_what_it_needs(
    file: Path, name: str, sizes: list[tuple[int, int]], told: str | None
) -> None:
    model = load_own(f"{file}:{name}", 2)
    if told is None:
        check_takes(model, name, 2, sizes)
        return
    with pytest.raises(SpecError, match=told):
        check_takes(model, name, 2, sizes)


@pytest.mark.parametrize("code", ["def f(:", "import absent_package", "1 / 0", "exit(3)"])
def test_a_file_that_cannot_be_run_is_told_in_one_sentence(code: str, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(code)
    with pytest.raises(SpecError, match=r"own\.py:build: failed") as caught:
        load_own(f"{tmp_path}/own.py:build", 2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", ["own.py:", ":build"])
def test_a_source_without_both_parts_is_refused(source: str) -> None:
    with pytest.raises(SpecError, match=r"must be file\.py:function"):
        load_own(source, 2)


class Bait:
    """Unpickling this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("suffix", ["pth", "pt", "ckpt", "bin"])
def test_of_a_checkpoint_for_spandrel_no_code_runs(suffix: str, tmp_path: Path) -> None:
    bait, file = tmp_path / "ran", tmp_path / f"bait.{suffix}"
    torch.save({"params": {"x": Bait(bait)}}, file)
    with pytest.raises(WeightsError, match="not a checkpoint of tensors alone"):
        load_own(f"spandrel:{file}", 2)
    assert not bait.exists()


def test_checkpoints_that_spandrel_cannot_use_are_told(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    with pytest.raises(WeightsError, match=r"weights\.pth: no such file"):
        load_own(f"spandrel:{file}", 2)
    file.touch()
    with pytest.raises(WeightsError, match="it is empty"):
        load_own(f"spandrel:{file}", 2)
    torch.save({"x": torch.ones(3)}, file)
    with pytest.raises(SpecError, match="of no architecture that spandrel knows"):
        load_own(f"spandrel:{file}", 2)


def test_a_checkpoint_for_spandrel_is_read_whatever_its_suffix(tmp_path: Path) -> None:
    esrgan = pytest.importorskip("spandrel.architectures.ESRGAN.__arch.RRDB")
    network = esrgan.RRDBNet(in_nc=3, out_nc=3, num_filters=8, num_blocks=1, scale=2)
    state = network.state_dict()
    file = tmp_path / "weights.bin"
    torch.save({"params_ema": state, "epoch": 3}, file)
    found = load_own(f"spandrel:{file}", 2).state_dict()
    assert all(torch.equal(found[key], value) for key, value in state.items())
    with pytest.raises(SpecError, match=r"at x3 want \(1, 3, 48, 72\)"):
        load_own(f"spandrel:{file}", 3)
    torch.save(dict(list(state.items())[:-1]), file)
    with pytest.raises(SpecError, match="spandrel cannot build its network"):
        load_own(f"spandrel:{file}", 2)
    torch.save({key: value * float("nan") for key, value in state.items()}, file)
    with pytest.raises(SpecError, match="is not finite"):
        load_own(f"spandrel:{file}", 2)


def test_missing_file_and_package_are_told() -> None:
    with pytest.raises(SpecError, match=r"absent\.py: no such file"):
        load_own("absent.py:build", 2)
    with pytest.raises(SpecError, match="No module named 'absent_package'"):
        load_own("absent_package.networks:build", 2)


def test_names_and_files_of_specs_are_not_own() -> None:
    assert is_source("mine.py:build")
    assert is_source("spandrel:weights.pth")
    assert not is_source("hit_sir")
    assert not is_source("networks/hit_sir-x2.json")
