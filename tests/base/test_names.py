"""Names are accepted or refused alike everywhere, and what is accepted is a file name anywhere."""

from pathlib import Path

import pytest

from hitsr.base.names import check_folder, check_name, user_path

REFUSED_ON_WINDOWS = ("con", "nul.v2", "com1", "lpt9.x", "aux", "prn")
BOTH = ("b100.v2", "a", "4x", "real-sr_v3", "console", "a..b", "com10", "x" * 100)
FOLDERS = ("RealSR-V3", "B100.v2", "my set", "-x", "a/b", 'it\'s "$(x)" {x} 100%', "ü", "東" * 60)


@pytest.mark.parametrize("name", BOTH)
def test_names(name: str) -> None:
    assert check_name(name) == check_folder(name) == name


@pytest.mark.parametrize("name", FOLDERS)
def test_sets_have_any_name_that_a_folder_has(name: str) -> None:
    assert check_folder(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "-x", ".x", "_x", "A", "a b", "a/b", "a\\b", "ü", "a\n", "a.", "..", "$(x)", "{x}",
     "x" * 101, *REFUSED_ON_WINDOWS],
)  # fmt: skip
def test_names_that_not_every_system_can_have_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"must|a name has|no file can have"):
        check_name(name)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/..", "../a", "/a", "a//b", "a/", "a\\b", ".x", " x", "x ", "x/ y", "a\nb",
     "a.", "a\0", "\ud800", "東" * 67, "NUL", "a/Con.x", *REFUSED_ON_WINDOWS],
)  # fmt: skip
def test_sets_outside_of_their_root_or_without_a_folder_anywhere_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"must|no file can have"):
        check_folder(name)


def test_a_tilde_is_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home of me")
    monkeypatch.setenv("USERPROFILE", "/home of me")
    assert user_path("~/data") == Path("/home of me/data")
    assert user_path("data/~") == Path("data/~")
    assert user_path("./~/data") == Path("./~/data")
    with pytest.raises(ValueError, match=r"write \./~"):
        user_path("~nobody-of-this-name/x")


@pytest.mark.parametrize("path", ["a\0b", "\ud800"])
def test_paths_that_no_file_can_have_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"must not hold|no path"):
        user_path(path)
