"""Precision is set for a block, whatever torch's global settings are, and put back after it."""

from collections.abc import Iterator
from contextlib import suppress

import pytest
import torch

from hitsr.base.errors import SpecError
from hitsr.runtime.precision import computing, dtype_of, settings

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
FLAGS = {
    "cuda.matmul.allow_tf32": (torch.backends.cuda.matmul, "allow_tf32"),
    "cudnn.allow_tf32": (torch.backends.cudnn, "allow_tf32"),
}


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = {name: getattr(*flag) for name, flag in FLAGS.items()}
    yield
    for name, (owner, attribute) in FLAGS.items():
        setattr(owner, attribute, before[name])


@pytest.fixture
def _an_ampere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))


@pytest.mark.usefixtures("_an_ampere")
@pytest.mark.parametrize("is_on_before", [True, False])
@pytest.mark.parametrize("precision", ["float32", "tf32", "float16", "bfloat16"])
def test_tf32_is_on_where_it_is_asked_for_alone(precision, is_on_before: bool):
    for owner, attribute in FLAGS.values():
        setattr(owner, attribute, is_on_before)
    with computing(precision, GPU, by_trial=False):
        found = settings(GPU)
        assert {found[name] for name in FLAGS} == {str(precision == "tf32")}
        assert found["cuda.matmul.allow_fp16_reduced_precision_reduction"] == "False"
    assert {getattr(*flag) for flag in FLAGS.values()} == {is_on_before}


@pytest.mark.usefixtures("_an_ampere")
def test_settings_come_back_after_an_error():
    torch.backends.cuda.matmul.allow_tf32 = False
    with suppress(ZeroDivisionError), computing("tf32", GPU):
        _ = 1 / 0
    assert not torch.backends.cuda.matmul.allow_tf32


def test_settings_made_by_torchs_newer_names_are_read():
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    assert settings(GPU)["cuda.matmul.allow_tf32"] == "True"
    with computing("float32", CPU):
        assert settings(GPU)["cuda.matmul.allow_tf32"] == "False"
    assert settings(GPU)["cuda.matmul.allow_tf32"] == "True"


def test_autocast_is_its_precision_alone():
    for precision in ("float32", "bfloat16", "autocast"):
        with torch.autocast("cpu", torch.bfloat16), computing(precision, CPU):
            assert torch.is_autocast_enabled("cpu") == (precision == "autocast")


def test_weights_are_16_bit_where_the_precision_says_so():
    wide = torch.float32
    assert [dtype_of(p) for p in ("float32", "tf32", "autocast")] == [wide] * 3
    assert [dtype_of(p) for p in ("float16", "bfloat16")] == [torch.float16, torch.bfloat16]


def test_tf32_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(SpecError, match="tf32: cpu has no TF32"), computing("tf32", CPU):
        pass
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    with pytest.raises(SpecError, match="T4 is older"), computing("tf32", GPU):
        pass


def test_other_devices_have_no_settings_to_record():
    assert settings(CPU) == {}


@pytest.mark.parametrize("precision", ["autocast", "float32"])
def test_weights_that_change_inside_the_block_are_cast_anew(precision):
    layer, x = torch.nn.Linear(4, 4), torch.ones(1, 4)
    with computing(precision, CPU):
        for _ in range(2):
            with torch.autocast("cpu", torch.bfloat16):  # as a network of its own accord
                found = layer(x)
            with torch.no_grad():
                layer.weight += 1
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        layer.weight -= 1
        assert torch.equal(found, layer(x))
