"""How readers are fuzzed: documents and bytes that are changed, and what must come of them.

Either a value, whose file is read back as an equal value; or one of hitsr's own errors, in words
that name the file. Each case has a limit of work and of memory, and starts no program.
`HITSR_FUZZ=50000 pytest tests/hostile` tries so many cases of each reader; the same number always
tries the same cases.
"""

import copy
import json
import os
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from hitsr.base.errors import HitsrError

CASES = int(os.environ.get("HITSR_FUZZ", "0"))
_MOST_CALLS = 5_000_000  # of functions, in Python or C; a config takes some 100,000
_MOST_MEMORY = 2**30  # bytes beyond what the process has
_LONGEST = 20_000  # characters of a message, of a file with a hundred faults
_PAGE = resource.getpagesize()
_HARMFUL = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect")


def fuzzed(cases: int) -> settings:
    """The settings of a test that tries so many cases unless `HITSR_FUZZ` says another number."""
    return settings(
        max_examples=CASES or cases,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


_is_watched = False


def _watch(event: str, _: tuple[Any, ...]) -> None:
    if _is_watched and event in _HARMFUL:
        raise AssertionError(f"a reader called {event}")


sys.addaudithook(_watch)  # for good, so it looks at cases alone


@contextmanager
def bounded() -> Iterator[None]:
    """Let a case fail that takes too much work or memory, or starts a program."""
    global _is_watched
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls > _MOST_CALLS:
            raise AssertionError(f"more than {_MOST_CALLS} calls")

    limits = resource.getrlimit(resource.RLIMIT_AS)
    if sys.platform == "linux":
        held = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * _PAGE
        resource.setrlimit(resource.RLIMIT_AS, (held + _MOST_MEMORY, limits[1]))
    _is_watched = True
    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(None)
        _is_watched = False
        resource.setrlimit(resource.RLIMIT_AS, limits)


def read(reader: Callable[[Path], Any], file: Path) -> Any:
    """What a reader makes of a file; None if it refuses the file as it should."""
    try:
        with bounded():
            return reader(file)
    except HitsrError as error:
        said = str(error)
        assert str(file) in said or file.name in said
        assert "Traceback" not in said
        assert len(said) < _LONGEST
        assert all(line.isprintable() for line in said.splitlines())
        return None


# Values that stand for no other, and tokens that mean something to some reader.
_ODD = st.one_of(
    st.sampled_from(
        [
            *(None, True, False, 0, -1, 1, 2, 3, 2**16, 2**16 + 1, 2**31, 2**63, 10**30),
            *(0.0, -0.0, 0.5, 1e-320, 1e308, float("nan"), float("inf"), -float("inf")),
            *("", " ", "a", "none", "auto", "own", "cpu", "cuda:99", "hit_sir", "../.."),
            *("a\nb", "\t", "<script>", "{network}", "~", "~nobody/x", "%s{0}", "é東", "x" * 300),
            *("/dev/zero", "=1+1", "$(touch ran)", "\x1b[31m", "a/b", "nul", "1:30", "010", "&a"),
            *([], {}, [[]], [{}], {"a": 1}, {"kind": "correlation"}, {"from": "hit_sr"}),
            [[[[[[[[1]]]]]]]],
        ]
    ),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=8),
)
_TOKENS = [
    *(b"&a ", b"*a", b"<<: ", b"!!str ", b"!!python/object:os.system ", b"---\n", b"%YAML 2\n"),
    *(b"\t", b"\n", b"\r", b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xc3", b"\xe2\x80\xa8", b"\x7f"),
    *(b"[", b"]", b"{", b"}", b'"', b"'", b": ", b", ", b"- ", b"? ", b"# ", b"|\n", b">\n", b"@"),
    *(
        b"NaN",
        b"Infinity",
        b"-",
        b"1e999",
        b"0x",
        b"1:1:1",
        b"010",
        b".inf",
        b"\\ud800",
        b"\\u0000",
    ),
    *(b"9" * 400, b"[" * 200, b"{a: " * 60, b"null", b"true", b"~"),
]


def _places(node: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all values inside a document."""
    entries = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in entries:
        yield (*above, key)
        if isinstance(value, dict | list):
            yield from _places(value, (*above, key))


@st.composite
def documents(draw: st.DrawFn, valid: list[Any]) -> Any:
    """A valid document in which a few values were replaced, left out, doubled, renamed or moved."""
    document = copy.deepcopy(draw(st.sampled_from(valid)))
    for _ in range(draw(st.integers(0, 3))):
        places = list(_places(document))
        if not places:
            break
        *above, key = draw(st.sampled_from(places))
        node = document
        for part in above:
            node = node[part]
        match draw(st.sampled_from(["replace", "replace", "drop", "double", "rename", "move"])):
            case "replace":
                node[key] = copy.deepcopy(draw(_ODD))
            case "drop":
                del node[key]
            case "double" if isinstance(node, list):
                node.insert(key, copy.deepcopy(node[key]))
            case "double" | "rename":
                value = node.pop(key) if isinstance(node, dict) else node[key]
                new = draw(st.sampled_from([str(key) + "s", "", "a.b", "kind", "name", "x\ny"]))
                if isinstance(node, dict):
                    node[new] = value
            case "move":
                node[key] = copy.deepcopy(_at(document, draw(st.sampled_from(places))))
    return document


def _at(document: Any, place: tuple[Any, ...]) -> Any:
    """What is at a place, or the nearest to it that is still there."""
    node = document
    for part in place:
        try:
            node = node[part]
        except (KeyError, IndexError, TypeError):
            return node
    return node


@st.composite
def changed(draw: st.DrawFn, data: bytes, tokens: list[bytes], most: int = 4) -> bytes:
    """Bytes of which a few were replaced, left out, doubled or cut off, or had a token put in."""
    for _ in range(draw(st.integers(0, most))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["token", "byte", "drop", "double", "cut", "zero"])):
            case "token":
                data = data[:at] + draw(st.sampled_from(tokens)) + data[at:]
            case "byte":
                data = data[:at] + bytes([draw(st.integers(0, 255))]) + data[at + 1 :]
            case "drop":
                data = data[:at] + data[at + draw(st.integers(1, 40)) :]
            case "double":
                data = data[:at] + data[at : at + draw(st.integers(1, 40))] + data[at:]
            case "zero":
                data = data[:at] + bytes(8) + data[at + 8 :]
            case "cut":
                data = data[:at]
    return data


@st.composite
def files(draw: st.DrawFn, valid: list[Any], suffix: str) -> bytes:
    """A file with such a document, as JSON or YAML; sometimes its text was changed, too."""
    document = draw(documents(valid))
    if suffix == ".json":
        text = json.dumps(document, ensure_ascii=draw(st.booleans()))
    else:
        flow = draw(st.sampled_from([None, True, False]))
        text = yaml.safe_dump(document, allow_unicode=True, default_flow_style=flow)
    data = text.encode()
    return draw(changed(data, _TOKENS, 3)) if draw(st.booleans()) else data
