from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from hitsr.base.errors import SpecError
from hitsr.runtime import caches, trials
from hitsr.runtime.caches import UNKNOWN, Cache, Caches, at_once, bytes_at_once, read

KB, MB = 2**10, 2**20
EPYC = Caches(Cache(MB, 1), Cache(32 * MB, 2))  # two cores of it, as a virtual machine has them
XEON = Caches(Cache(2 * MB, 1), Cache(105 * MB, 56))


def _sysfs(folder: Path, levels: list[tuple[str, str, str, str]], siblings: str) -> Path:
    """Files as Linux has them: level, type, size and processors of each cache."""
    (folder / "cpu0/topology").mkdir(parents=True)
    (folder / "cpu0/topology/thread_siblings_list").write_text(f"{siblings}\n", encoding="utf-8")
    for number, values in enumerate(levels):
        cache = folder / f"cpu0/cache/index{number}"
        cache.mkdir(parents=True)
        for name, value in zip(("level", "type", "size", "shared_cpu_list"), values, strict=True):
            (cache / name).write_text(f"{value}\n", encoding="utf-8")
    return folder


def test_caches_are_those_of_a_core_not_of_its_two_threads(tmp_path: Path):
    first = [("1", "Data", "48K", "0,64"), ("1", "Instruction", "32K", "0,64")]
    larger = [("2", "Unified", "2048K", "0,64"), ("3", "Unified", "107520K", "0-55,64-119")]
    found = read(_sysfs(tmp_path, first + larger, "0,64"))
    assert found == XEON
    assert found.words == "L2 of 2048 KB, L3 of 107520 KB for 56 cores"


def test_some_machines_have_no_third_level(tmp_path: Path):
    found = read(_sysfs(tmp_path, [("2", "Unified", "12288K", "0-3")], "0"))
    assert found == Caches(Cache(12 * MB, 4))
    assert found.words == "L2 of 12288 KB for 4 cores"


@pytest.mark.parametrize("size", ["", "many", "K"])
def test_what_is_not_known_is_not_guessed(tmp_path: Path, size: str):
    assert read(tmp_path) is None
    assert read(_sysfs(tmp_path, [("2", "Unified", size, "0")], "0")) is None


@pytest.mark.parametrize(
    ("threads", "machine", "expected"),
    [
        (1, EPYC, MB),  # no less, however small the caches are
        (2, EPYC, MB),
        (8, EPYC, 4 * MB),  # half of eight caches
        (16, XEON, 16 * MB),
        (32, XEON, 169 * MB // 8),  # an eighth of both levels
        (56, XEON, (112 + 105) * MB // 8),
        (4, UNKNOWN, MB),
        (8, Caches(Cache(12 * MB, 4)), 3 * MB),
        (8, Caches(Cache(256 * KB, 1), Cache(16 * MB, 8)), MB),
    ],
)
def test_all_threads_share_what_is_worked_on(threads: int, machine: Caches, expected: int):
    assert bytes_at_once(threads, machine) == expected


@pytest.fixture
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """With nothing found or chosen before."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    for known in ("_noted", "_chosen", "_misfits"):
        monkeypatch.setattr(trials, known, {})
    caches._at_once.cache_clear()
    yield
    caches._at_once.cache_clear()


@pytest.mark.usefixtures("_one_thread")
def test_records_name_what_was_found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(caches.SWITCH, raising=False)
    monkeypatch.setattr(caches, "here", lambda: EPYC)
    assert at_once() == MB
    words = "1024 KB (1 thread, L2 of 1024 KB, L3 of 32768 KB for 2 cores)"
    assert trials.chosen(torch.device("cpu")) == {"worked on at a time": words}


@pytest.mark.usefixtures("_one_thread")
def test_a_variable_replaces_what_was_found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(caches.SWITCH, "300")
    assert at_once() == 300 * KB
    assert trials.chosen(torch.device("cpu")) == {"worked on at a time": "300 KB (HITSR_CPU_KB)"}
    for wrong in ("", "0", "-1", "1 MB"):
        monkeypatch.setenv(caches.SWITCH, wrong)
        with pytest.raises(SpecError, match=r"HITSR_CPU_KB=.*: must be a whole number"):
            at_once()


@pytest.mark.skipif(not Path("/sys/devices/system/cpu/cpu0").is_dir(), reason="not on Linux")
def test_this_machine_has_the_same_caches_always():
    assert caches.here() == (read(Path("/sys/devices/system/cpu")) or UNKNOWN)


def test_macos_tells_its_caches_by_sysctl(monkeypatch: pytest.MonkeyPatch):
    known = {"hw.perflevel0.l2cachesize": 16 * MB, "hw.perflevel0.cpusperl2": 4}
    monkeypatch.setattr(caches, "_sysctl", lambda name: known.get(name, 0))
    assert caches._from_sysctl() == Caches(Cache(16 * MB, 4))
    known = {"hw.l2cachesize": 256 * KB, "hw.l3cachesize": 8 * MB, "hw.physicalcpu": 4}
    assert caches._from_sysctl() == Caches(Cache(256 * KB, 1), Cache(8 * MB, 4))
    known = {}
    assert caches._from_sysctl() is None
