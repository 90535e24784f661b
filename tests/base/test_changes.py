import copy
from typing import Any

import pytest

from hitsr.base.changes import patched
from hitsr.base.errors import SpecError

DATA: dict[str, Any] = {"width": 60, "windows": {"base": 8, "ratios": (1, 2)}, "context": None}


def test_only_the_named_path_changes():
    before = copy.deepcopy(DATA)
    found = patched(DATA, {"windows.base": 4, "width": 48}, "patch")
    assert found == {"width": 48, "windows": {"base": 4, "ratios": (1, 2)}, "context": None}
    assert before == DATA


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"windows.bas": 4}, "file: no field 'windows.bas'; did you mean 'windows.base'?"),
        ({"context.grams": 2}, "file: no field 'context.grams': context is null; change 'context'"),
        ({"windows": {}, "windows.base": 4}, "file: windows.base is part of windows, which"),
        ({"windows.base": 4, "windows": {}}, "file: windows.base is part of windows, which"),
    ],
)
def test_a_path_that_does_not_exist_is_refused(changes: dict[str, Any], message: str):
    with pytest.raises(SpecError) as caught:
        patched(DATA, changes, "file")
    assert str(caught.value).startswith(message)
