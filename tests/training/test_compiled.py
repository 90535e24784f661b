from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from hitsr.base.errors import SpecError
from hitsr.training.compiled import compile_training


def test_only_the_training_mode_is_compiled(monkeypatch: pytest.MonkeyPatch):
    def counted(function: Callable[[Tensor], Tensor], *, dynamic: bool) -> Callable:
        assert not dynamic
        return lambda x: seen.append("compiled") or function(x)

    seen: list[str] = []
    monkeypatch.setattr(torch, "compile", counted)
    monkeypatch.setattr("hitsr.training.compiled.check_compiler", lambda: None)
    model, x = nn.Conv2d(3, 4, 1), torch.rand(1, 3, 5, 5)
    expected, names = model(x), list(model.state_dict())
    compile_training(model)
    assert torch.equal(model(x), expected)
    assert seen == ["compiled"]
    assert torch.equal(model.eval()(x), expected)
    assert seen == ["compiled"]
    assert list(model.state_dict()) == names


def test_a_missing_compiler_raises(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CXX", "none")
    with pytest.raises(SpecError, match="needs a C"):
        compile_training(nn.Identity())
