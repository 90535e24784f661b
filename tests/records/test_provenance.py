import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from hitsr.records import provenance as module
from hitsr.records.provenance import provenance


def test_states_code_machine_and_cost(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        sys, "argv", ["/home/me/bin/hitsr", "train", "runs/a.json", "--out", "/home/me/b c"]
    )
    facts = provenance("cpu", 1.5, seed=3)
    assert facts.command == "hitsr train runs/a.json --out 'b c'"
    assert (facts.device, facts.seconds, facts.seed) == ("cpu", 1.5, 3)
    assert facts.threads == torch.get_num_threads()
    assert (
        facts.versions["torch"] == torch.__version__.partition("+")[0] or "+" in torch.__version__
    )
    assert facts.device_name


def test_a_gpu_is_told_from_others_of_its_model(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a GPU")
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid=f"of {device}")
    )
    facts = provenance("cuda:1", 0)
    assert (facts.device_name, facts.device_uuid) == ("a GPU", "of cuda:1")
    assert provenance("cpu", 0).device_uuid is None


def _git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout that holds the package; returns the package's file that asks git."""
    file = tmp_path / "hitsr" / "records" / "provenance.py"
    file.parent.mkdir(parents=True)
    file.write_text("")
    monkeypatch.setattr(module, "__file__", str(file))
    _git(tmp_path, "init", "--quiet")
    return file


def test_a_changed_package_is_dirty_and_other_files_are_not(checkout: Path):
    _git(checkout.parent, "add", ".")
    _git(checkout.parent, "commit", "--quiet", "-m", "a")
    (checkout.parents[2] / "notes").write_text("outside the package")
    clean = provenance("cpu", 0)
    assert len(clean.commit or "") == 40
    assert clean.dirty is False
    checkout.write_text("changed")
    assert provenance("cpu", 0).dirty is True


def test_another_projects_checkout_says_nothing(checkout: Path):
    assert checkout.exists()  # untracked: an installed copy inside that checkout
    facts = provenance("cpu", 0)
    assert facts.commit is None
    assert facts.dirty is None


def test_no_git_is_no_commit(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    assert provenance("cpu", 0).commit is None


def test_without_torch_it_stays_out():
    code = (
        "import sys; from hitsr.records.provenance import provenance; "
        "assert provenance('cpu', 0).threads == 1; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
