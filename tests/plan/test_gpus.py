"""The names of GPUs, as a stand-in for nvidia-smi and CUDA_VISIBLE_DEVICES tell them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hitsr.base.errors import SpecError
from hitsr.plan import gpus
from hitsr.plan.gpus import VISIBLE, gpu_names, limits

# As of nvidia-smi 550; the second GPU is divided into instances.
LISTED = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aa11)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-ab22)
  MIG 3g.20gb     Device  0: (UUID: MIG-cc33)
  MIG 3g.20gb     Device  1: (UUID: MIG-cd44)
GPU 2: NVIDIA A100-SXM4-40GB (UUID: GPU-ef55)
"""
EVERY = ("GPU-aa11", "MIG-cc33", "MIG-cd44", "GPU-ef55")
Put = Callable[[str, str | None], None]


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Put]:
    """A machine on which nvidia-smi lists this, and the variable has this value, if any."""

    def here(listed: str, visible: str | None) -> None:
        gpu_names.cache_clear()
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        command = tmp_path / "nvidia-smi"
        command.write_text(f"#!/bin/sh\n[ \"$*\" = -L ] && cat <<'END'\n{listed}END\n")
        command.chmod(0o755)
        if visible is None:
            monkeypatch.delenv(VISIBLE, raising=False)
        else:
            monkeypatch.setenv(VISIBLE, visible)

    yield here
    gpu_names.cache_clear()


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        (None, EVERY),
        ("0,2", ("GPU-aa11", "GPU-ef55")),
        ("2, 0", ("GPU-ef55", "GPU-aa11")),
        ("1", ("MIG-cc33",)),  # as CUDA, which sees the first instance
        ("GPU-e,MIG-cd", ("GPU-ef55", "MIG-cd44")),
        ("GPU-", ("GPU-",)),  # which CUDA would not take either
        ("MIG-GPU-ab22/1/0", ("MIG-GPU-ab22/1/0",)),
        ("0,7,2", ("GPU-aa11",)),  # as CUDA, which reads no further
        ("0,0", ("GPU-aa11",)),
        ("", ()),
        ("-1", ()),
        ("NoDevFiles", ()),
    ],
)
def test_gpus_are_those_of_the_machine_or_of_its_user(
    put: Put, visible: str | None, names: tuple[str, ...]
) -> None:
    put(LISTED, visible)
    assert gpu_names() == names


def test_without_nvidia_smi_gpus_have_the_numbers_of_torch(
    put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpus, "available_gpus", lambda: 2)
    put("", None)
    assert gpu_names() == ("0", "1")
    put("", "3,1")
    assert gpu_names() == ("3", "1")


def test_a_machine_without_gpus_asks_nobody_and_has_one_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(gpus, "available_gpus", lambda: 0)
    monkeypatch.setattr(gpus.subprocess, "run", None)
    monkeypatch.delenv(VISIBLE, raising=False)
    gpu_names.cache_clear()
    assert gpu_names() == ()
    assert limits() == ["gpu_places=1", "places_per_gpu=1"]
    gpu_names.cache_clear()


def test_a_profile_counts_the_places_of_all_gpus(put: Put) -> None:
    put(LISTED, None)
    assert limits(2) == ["gpu_places=8", "places_per_gpu=2"]
    with pytest.raises(SpecError, match="17 places on a GPU: must be 1 to 16"):
        limits(17)
