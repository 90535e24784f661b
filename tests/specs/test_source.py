"""The one line of text that says where a user's own network comes from."""

from pathlib import Path

import pytest

from hitsr.specs.source import Source, is_source, read_source


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("nets/a b.py:build", Source(Path("nets/a b.py"), function="build")),
        ("C:/x.py:build", Source(Path("C:/x.py"), function="build")),
        ("C:\\x.py:build", Source(Path("C:\\x.py"), function="build")),
        ("a:b/c:d.py:build", Source(Path("a:b/c:d.py"), function="build")),
        ("package.models:build", Source(None, "package.models", "build")),
        ("spandrel:C:\\x.pth", Source(Path("C:\\x.pth"))),
        ("spandrel:a:b/x.pth", Source(Path("a:b/x.pth"))),
    ],
)
def test_each_kind_is_read(text: str, source: Source) -> None:
    assert read_source(text) == source
    assert is_source(text)


@pytest.mark.parametrize(
    "text",
    ["", ":", "a:", ":a", "mine.py", "C:\\x.py", "spandrel:", "a/b:build", "x.py:$(y)", "-:a"],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be file\.py:function"):
        read_source(text)


@pytest.mark.parametrize("text", ["C:\\net.json", "C:/net.yaml", "a:b/net.json", "hit_sir", "D:/x"])
def test_a_colon_in_the_path_of_a_spec_is_no_code(text: str) -> None:
    assert not is_source(text)


def test_a_file_that_exists_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "a:b"
    assert is_source(str(file))
    file.touch()
    assert not is_source(str(file))
