"""What a process sees of pretended GPUs once it has leased some."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from uuid import uuid4

import pytest

from hitsr.base.errors import SpecError
from hitsr.base.leases import lease_devices
from hitsr.cli import pinning
from hitsr.cli.pinning import take_gpus
from hitsr.plan.gpus import VISIBLE, gpu_names


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Four GPUs, which are given back at the end."""
    found = [f"MIG-{uuid4()}" for _ in range(4)]
    monkeypatch.setenv(VISIBLE, ",".join(found))
    gpu_names.cache_clear()
    with ExitStack() as held:
        monkeypatch.setattr(pinning, "_held", held)
        yield found
    gpu_names.cache_clear()


def test_a_process_sees_only_what_it_has_leased(
    names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    take_gpus("cuda", "2/2")
    assert os.environ[VISIBLE] == names[0]
    take_gpus("cuda", "1/2")
    assert os.environ[VISIBLE] == names[1]
    take_gpus("cuda", "4/2")
    assert os.environ[VISIBLE] == ",".join(names[2:])
    told = [f"on {names[0]}", f"on {names[1]}", f"on {names[2]}, {names[3]}"]
    assert capsys.readouterr().err.splitlines() == told


def test_the_gpu_of_a_number_is_leased_and_keeps_its_number(names: list[str]) -> None:
    take_gpus("cuda:2", "1/1")
    assert os.environ[VISIBLE] == ",".join(names)
    others = lease_devices(names, 3, pytest.fail)
    with others.places:
        assert others.devices == (names[0], names[1], names[3])


@pytest.mark.parametrize(
    ("device", "lease"), [("cuda", None), ("cuda", "0/1"), ("cpu", "1/1"), ("mps", "1/1")]
)
def test_what_needs_none_takes_none(names: list[str], device: str, lease: str | None) -> None:
    take_gpus(device, lease)
    assert os.environ[VISIBLE] == ",".join(names)
    with lease_devices(names, 4, pytest.fail).places:
        pass


@pytest.mark.parametrize("lease", ["1", "1/0", "a/b", "1/1/1", ""])
def test_other_words_are_refused(lease: str) -> None:
    with pytest.raises(SpecError, match="must be PLACES/EACH"):
        take_gpus("cuda", lease)
