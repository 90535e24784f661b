import subprocess
import sys
from pathlib import Path

import pytest

from hitsr.base.errors import SpecError
from hitsr.runtime.compiling import check_compiler


def test_a_compiler_on_the_path_or_in_cxx_suffices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    compiler = tmp_path / "clang++"
    compiler.touch(mode=0o755)
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    check_compiler()
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CXX", str(compiler))
    check_compiler()


def test_without_a_compiler_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(SpecError, match=r"C\+\+ compiler: found none of g\+\+.*install one"):
        check_compiler()
    monkeypatch.setenv("CXX", "icc")
    with pytest.raises(SpecError, match="CXX is 'icc', which does not exist"):
        check_compiler()


def test_a_plain_forward_does_not_load_torch_dynamo():
    code = (
        "import sys, torch, hitsr\n"
        "with torch.inference_mode():\n"
        "    hitsr.create('swinir_light', 2).eval()(torch.rand(1, 3, 8, 8))\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
