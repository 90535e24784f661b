"""Errors of other packages, told in one line of ours."""

from pathlib import Path

import pytest
import torch

from hitsr.base.errors import SpecError, in_one_line


class Other:
    """An object that PyTorch refuses to unpickle."""


def test_the_first_line_is_told_with_the_kind_of_a_foreign_error() -> None:
    assert in_one_line(ValueError("one\ntwo")) == "ValueError: one"
    assert in_one_line(SpecError("one\ntwo")) == "one"
    assert in_one_line(EOFError()) == "EOFError"


def test_pytorchs_advice_to_run_the_code_in_a_file_is_not_told(tmp_path: Path) -> None:
    torch.save(Other(), tmp_path / "a.pth")
    with pytest.raises(Exception, match="weights_only") as caught:
        torch.load(tmp_path / "a.pth")
    told = in_one_line(caught.value)
    assert told == "UnpicklingError: a file of weights is damaged, or holds more than tensors"
