from pathlib import Path

import pytest
import torch

from hitsr.runtime.free_memory import cgroup_headrooms, free_bytes, is_out_of_memory


def test_every_wording_of_out_of_memory_is_recognised():
    with pytest.raises(RuntimeError) as refused:
        torch.empty(2**58)
    assert is_out_of_memory(refused.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"))
    assert is_out_of_memory(RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))
    assert not is_out_of_memory(ValueError("out of memory"))


def _write_files(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)


def test_the_limit_of_a_parent_cgroup_counts(tmp_path: Path):
    stat = "anon 5\ninactive_file 100\nactive_file 7\n"
    limits = {"memory.max": "1000\n", "memory.current": "400", "memory.stat": stat}
    _write_files(tmp_path / "job", limits)
    _write_files(tmp_path / "job" / "step", {"memory.max": "max\n", "memory.current": "300"})
    assert list(cgroup_headrooms("0::/job/step\n", tmp_path)) == [700]


def test_a_container_s_limit_is_at_the_mount_point(tmp_path: Path):
    stat = "total_inactive_file 0\n"
    limits = {"memory.limit_in_bytes": "900", "memory.usage_in_bytes": "200", "memory.stat": stat}
    _write_files(tmp_path / "memory", limits)
    listing = "5:devices:/\n4:memory:/host/path\n0::/\n"
    assert list(cgroup_headrooms(listing, tmp_path)) == [700]


def test_this_machine_has_free_memory():
    assert 0 < free_bytes(torch.device("cpu")) < 2**50
