from pathlib import Path

import pytest

from hitsr.plan import fingerprint as code
from hitsr.plan.fingerprint import fingerprint

SOURCE = '''"""What it is for."""

import math


def area(radius: float) -> float:
    return math.pi * radius**2


class Empty:
    pass
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "area.py").write_text(SOURCE)
    (tmp_path / "other.py").write_text("x = 1\n")
    monkeypatch.setattr(code, "PACKAGE", tmp_path)
    return tmp_path / "parts" / "area.py"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("What it is for.", "What it is good for."),
        ('"""What it is for."""\n', ""),
        ("-> float:\n", '-> float:\n    """Of a circle."""\n'),
        ("-> float:\n", "-> float:\n    # of a circle\n"),
        ("    pass", '    """Nothing."""'),
        ("class Empty:\n", 'class Empty:\n    """Nothing."""\n\n'),
        ("math.pi * radius**2", "(math.pi\n            * radius ** 2)"),
        ("\n\n\n", "\n\n\n\n"),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(package: Path, old: str, new: str):
    before = fingerprint("parts")
    assert old in SOURCE
    package.write_text(SOURCE.replace(old, new))
    assert package.read_text() != SOURCE
    assert fingerprint("parts") == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("radius**2", "radius**3"),
        ("math.pi", "math.tau"),
        ("area(", "surface("),
        ("import math\n", "import math\nimport cmath\n"),
        ("radius: float)", "radius: float = 1.0)"),
        ("return math", "'not a docstring'.strip()\n    return math"),
    ],
)
def test_what_is_executed_counts(package: Path, old: str, new: str):
    before = fingerprint("parts")
    package.write_text(SOURCE.replace(old, new))
    assert fingerprint("parts") != before


def test_a_new_a_lost_and_a_renamed_file_count(package: Path):
    found = [fingerprint("parts")]
    (package.parent / "more.py").write_text("")
    found.append(fingerprint("parts"))
    package.rename(package.parent / "surface.py")
    found.append(fingerprint("parts"))
    (package.parent / "more.py").unlink()
    found.append(fingerprint("parts"))
    assert len(set(found)) == 4


def test_only_the_named_parts_count(package: Path):
    before = fingerprint("parts"), fingerprint("parts/area.py")
    (package.parents[2] / "other.py").write_text("x = 2\n")
    assert (fingerprint("parts"), fingerprint("parts/area.py")) == before
    assert fingerprint("parts", "other.py") != before[0]


def test_a_missing_part_is_named(package: Path):
    with pytest.raises(FileNotFoundError, match=r"parts/gone\.py: no such module"):
        fingerprint("parts", "parts/gone.py")
    assert package.exists()


def test_the_package_itself_has_a_fingerprint():
    assert len(fingerprint("models", "measure/complexity.py")) == 16
    assert fingerprint("models") == fingerprint("models") != fingerprint("data")
