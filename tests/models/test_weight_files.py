"""Files of weights are told apart by their content, and no code in them runs."""

import io
import json
import zipfile
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from hitsr.base.errors import WeightsError
from hitsr.models.weight_files import belongs_to, read_weights

STATE = {"weight": torch.arange(6.0).reshape(2, 3)}


def _saved(content: object, zipped: bool = True) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def _zipped(name: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, b"content")
    return file.getvalue()


def _array() -> bytes:
    file = io.BytesIO()
    np.save(file, np.ones(3))
    return file.getvalue()


@pytest.mark.parametrize("suffix", ["pth", "safetensors", "bin", "ckpt"])
@pytest.mark.parametrize("data", [_saved(STATE), _saved(STATE, zipped=False), save(STATE)])
def test_the_content_counts_and_not_the_suffix(data: bytes, suffix: str, tmp_path: Path):
    file = tmp_path / f"weights.{suffix}"
    file.write_bytes(data)
    assert torch.equal(read_weights(file).entries["weight"], STATE["weight"])


def test_scores_of_numpy_may_stand_beside_the_weights(tmp_path: Path):
    scores = {"best": np.float64(32.5), "steps": np.int64(3), "loss": np.float32(0.5)}
    (tmp_path / "a.pth").write_bytes(_saved({"model": STATE, **scores}))
    entries = read_weights(tmp_path / "a.pth").entries
    assert {key: entries[key] for key in scores} == scores


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "it is empty"),
        (b"\n<!DOCTYPE html><html>", "it is a web page"),
        (b"\xef\xbb\xbf<html>", "it is a web page"),
        (b'{"error": "quota exceeded"}', "it is JSON"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d", "pointer of Git LFS"),
        (b"404: Not Found", "it is text"),
        (b"\x1f\x8b\x08\x00", "a compressed archive; unpack it"),
        (_array(), "a NumPy array"),
        (b"\x00" * 50, "neither safetensors nor of PyTorch"),
        (_zipped("weights.pth"), "an archive of 1 other files; unpack it"),
        (_zipped("a/constants.pkl"), "a TorchScript program"),
        (_saved(STATE)[:-1], "the end of the file is missing"),
        (_saved(STATE, zipped=False)[:-1], "incomplete or damaged"),
        (save(STATE)[:-1], "incomplete or damaged safetensors"),
    ],
)
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_what_is_no_checkpoint_is_named(data: bytes, told: str, suffix: str, tmp_path: Path):
    file = tmp_path / f"weights.{suffix}"
    file.write_bytes(data)
    with pytest.raises(WeightsError) as caught:
        read_weights(file)
    assert str(caught.value).startswith(f"{file}: not a checkpoint: ")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_objects_are_named_and_no_advice_is_given_to_load_them(tmp_path: Path):
    (tmp_path / "a.pth").write_bytes(_saved({"arguments": Namespace(width=60), "model": STATE}))
    with pytest.raises(
        WeightsError, match=r"holds argparse\.Namespace; other objects are refused"
    ) as e:
        read_weights(tmp_path / "a.pth")
    assert "weights_only" not in str(e.value)


@pytest.mark.parametrize("metadata", ["x", "[1]", "null", "[" * 100_000, '{"a": 1, "a": 2}'])
def test_damaged_metadata_of_ours_are_refused(metadata: str, tmp_path: Path):
    (tmp_path / "a.safetensors").write_bytes(save(STATE, {"hitsr": metadata}))
    with pytest.raises(WeightsError, match=r"metadata `hitsr`.* are damaged"):
        read_weights(tmp_path / "a.safetensors")


def test_metadata_are_read_from_ours_alone(tmp_path: Path):
    file = tmp_path / "a.pth"
    for data, expected in (
        (save(STATE, {"hitsr": json.dumps({"scale": 3})}), {"scale": 3}),
        (save(STATE, {"format": "pt"}), {}),
        (_saved(STATE), {}),
        (b"", {}),
    ):
        file.write_bytes(data)
        assert belongs_to(file) == expected


def _laughs() -> dict[str, Any]:
    """Two to the power of 40 entries, of which each mapping is stored once."""
    found: dict[str, Any] = {"x": torch.ones(1)}
    for _ in range(40):
        found = {"a": found, "b": found}
    return found


def _endless() -> dict[str, Any]:
    found: dict[str, Any] = {"x": torch.ones(1)}
    found["again"] = found
    return found


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (_laughs(), "holds more than 100,000 entries, or more than 50 levels of them; ask"),
        (_endless(), "holds more than 100,000 entries, or more than 50 levels of them; ask"),
        ({"a": torch.zeros(1).expand(10**6, 10**6)}, "would take more than 4 times its size in"),
    ],
    ids=["laughs", "endless", "repeated"],
)
def test_a_small_file_that_holds_without_reason_is_refused(
    content: object, told: str, zipped: bool, tmp_path: Path
):
    (tmp_path / "a.pth").write_bytes(_saved(content, zipped))
    with pytest.raises(WeightsError, match=rf"a\.pth: not a checkpoint: it {told}"):
        read_weights(tmp_path / "a.pth")


def test_a_compressed_checkpoint_is_read_unless_it_is_a_bomb(tmp_path: Path):
    for value, is_refused in ((torch.zeros(10**6), True), (torch.rand(10**5), False)):
        with (
            zipfile.ZipFile(io.BytesIO(_saved({"a": value}))) as saved,
            zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            for name in saved.namelist():
                archive.writestr(name, saved.read(name))
        if is_refused:
            with pytest.raises(WeightsError, match="more than 4 times its size"):
                read_weights(tmp_path / "a.pth")
        else:
            assert torch.equal(read_weights(tmp_path / "a.pth").entries["a"], value)


def test_an_archive_that_asks_for_a_newer_reader_is_refused(tmp_path: Path):
    data = _saved(STATE)
    at = data.index(b"PK\x01\x02") + 6  # the version that is needed, in tenths
    (tmp_path / "a.pth").write_bytes(data[:at] + b"\x80" + data[at + 1 :])
    with pytest.raises(WeightsError, match="the end of the file is missing; download it again"):
        read_weights(tmp_path / "a.pth")


def test_weights_that_stand_under_several_names_are_counted_once(tmp_path: Path):
    state = {"weight": torch.rand(10**6)}
    names = ("params", "params_ema", "state_dict", "best", "last", "model")
    (tmp_path / "a.pth").write_bytes(_saved(dict.fromkeys(names, state)))
    assert set(read_weights(tmp_path / "a.pth").entries) == set(names)


def test_a_device_is_no_file_of_weights(tmp_path: Path):
    (tmp_path / "a.pth").symlink_to("/dev/zero")
    with pytest.raises(WeightsError, match=r"a\.pth: is a device or pipe; name a file"):
        read_weights(tmp_path / "a.pth")
