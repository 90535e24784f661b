"""Read YAML and JSON files as plain data, and refuse what would be read otherwise than it looks.

PyYAML keeps the last of two equal keys, reads 010 as 8 and 1:30 as 90, and repeats aliases without
end. Snakemake reads configs too, with a loader of its own: it accepts all that is accepted here.
"""

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from hitsr.base.errors import DataError, SpecError, cut, shortened
from hitsr.base.files import content_of

UTF_8 = "utf-8-sig"  # of files that users edit: some editors put a byte order mark first
_MOST_YAML = 10**6  # bytes; a person wrote them, and the largest file here has 9,000
MOST_JSON = 2**28  # bytes; what is known of a set of 100,000 pictures takes 40 million
_DEEPEST = 50  # levels of nesting; Python's own limit would end in a traceback
_TOO_DEEP = f"values are nested more than {_DEEPEST} levels deep"
_TWICE = "key {} is given twice; keep one"
_MOST = 100_000  # values, each counted wherever an alias repeats it
_LONGEST_NUMBER = 1000  # characters; 1:1:1… takes time by the square of them
_DIGITS = 19  # of whole numbers in JSON, with a sign: below 2^63
_TAG = "tag:yaml.org,2002:"
# 010 is octal and 1:30 sexagesimal in YAML 1.1, and neither is in YAML 1.2.
_DOUBTFUL = re.compile(r"[-+]?0[0-9_]+$|.*:")


def read_yaml(path: Path) -> Any:
    """The plain data in a YAML file, or in a file named *.json, which may hold any JSON.

    Raises SpecError with the file, the line and what to write instead if the file is missing or
    malformed, or could be misread.
    """
    if path.suffix == ".json":
        return read_json(path)
    return parse_yaml(_text(path, _MOST_YAML), str(path))


def parse_yaml(text: str, where: str) -> Any:
    """The plain data in YAML text; SpecError as `read_yaml`, which begins with `where`."""
    try:
        return yaml.load(text, _Loader)
    except RecursionError:
        raise SpecError(f"{where}: not YAML: {_TOO_DEEP}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f" (line {mark.line + 1})" if mark else ""
        raise SpecError(f"{where}: not YAML: {error.problem}{line}") from None
    except yaml.YAMLError as error:  # a character that no YAML file may hold
        raise SpecError(f"{where}: not YAML: {str(error).splitlines()[0]}") from None


def read_json(path: Path) -> Any:
    """The plain data in a JSON file; SpecError as `read_yaml`."""
    try:
        return parse_json(_text(path, MOST_JSON))
    except ValueError as error:
        raise SpecError(f"{path}: {error}") from None


def parse_json(data: bytes | str) -> Any:
    """Plain data as this package writes it; ValueError in a few words for anything else.

    Refused are also keys given twice, and whole numbers beyond 64 bits, with which floats cannot be
    computed; fields of values refuse what is not finite.
    """
    try:
        text = data.decode(UTF_8) if isinstance(data, bytes) else data
        found = json.loads(text, parse_int=_whole, object_pairs_hook=_mapping)
        if r"\ud" in text.lower():
            json.dumps(found, ensure_ascii=False).encode()
        return found
    except UnicodeDecodeError:
        raise ValueError("not text") from None
    except UnicodeEncodeError:
        raise ValueError("half of a character, such as \\ud800") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise ValueError(f"not JSON at {where}: {error.msg}") from None


def _whole(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError(f"a whole number of {len(digits.lstrip('-'))} digits")
    return int(digits)


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file of the repository, by column; DataError if it cannot be read."""
    try:
        text = content_of(path, _MOST_YAML).decode(UTF_8)
        return list(csv.DictReader(io.StringIO(text, newline="")))
    except OSError as error:
        why = error.strerror
    except UnicodeDecodeError:
        why = "not UTF-8"
    except csv.Error as error:  # such as a field of 131,073 characters
        why = str(error)
    raise DataError(f"{path}: {why}; restore it from the repository")


def _text(path: Path, most: int) -> str:
    try:
        return content_of(path, most).decode(UTF_8)
    except FileNotFoundError:
        where = "" if path.is_absolute() else f" in {Path.cwd()}"
        raise SpecError(f"{path}: no such file{where}") from None
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}; name a text file") from None
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: not text in UTF-8 (byte {error.start})") from None


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key, value in pairs:
        if key in mapping:
            raise ValueError(_TWICE.format(shortened(key)))
        mapping[key] = value
    return mapping


def _problem(place: Any, message: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=message, problem_mark=place.start_mark)


class _Loader(yaml.SafeLoader):
    """Reads YAML of one meaning: no tags but !!str, no dates, no key twice, few repetitions."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._extents: dict[yaml.Node, tuple[int, int]] = {}  # of finished nodes: values, levels

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        is_alias = isinstance(event, yaml.AliasEvent)
        if is_alias and event.anchor not in self.anchors:
            raise _problem(event, f"alias {shortened(event.anchor)} repeats no anchor")
        allowed = (None, "!", f"{_TAG}str" if isinstance(event, yaml.ScalarEvent) else "!")
        if getattr(event, "tag", None) not in allowed:
            raise _problem(event, f"tag {shortened(event.tag)}: leave it out; text goes in quotes")
        node = super().compose_node(parent, index)
        assert node is not None
        if is_alias and node not in self._extents:
            raise _problem(event, f"alias {shortened(event.anchor)} repeats what it is part of")
        if not is_alias:
            extents = [self._extents[part] for part in _parts(node)]
            values, levels = zip(*extents) if extents else ((0,), (0,))
            self._extents[node] = (1 + sum(values), 1 + max(levels))
        if self._extents[node][0] > _MOST:
            raise _problem(event, f"with its aliases, the file holds more than {_MOST} values")
        if self._extents[node][1] > _DEEPEST:
            raise _problem(event, _TOO_DEEP)
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _problem(key, "a key is a list or mapping; keys must be text")
            name = key.value if key.tag == f"{_TAG}merge" else self.construct_object(key)
            if name in seen:
                raise _problem(key, _TWICE.format(shortened(key.value)))
            seen.add(name)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        is_number = node.tag in (f"{_TAG}int", f"{_TAG}float")
        try:
            if is_number and len(node.value) > _LONGEST_NUMBER:
                raise ValueError
            return super().construct_object(node, deep)
        except (ValueError, OverflowError):  # a number of hundreds of digits
            raise _problem(node, f"{shortened(node.value)} cannot be read as a value") from None

    def number(self, node: yaml.ScalarNode) -> float:
        is_whole = node.tag == f"{_TAG}int"
        construct = self.construct_yaml_int if is_whole else self.construct_yaml_float
        value = construct(node)
        said = str(value)  # ValueError if 0x or 0b made a number of thousands of digits
        if _DOUBTFUL.match(node.value):
            raise _problem(
                node,
                f"{cut(node.value)} is {said} to YAML; write {said}, or put text in quotes",
            )
        return value

    def text(self, node: yaml.ScalarNode) -> str:
        # A character beyond U+FFFF may be two escapes, as JSON writes it; half of one is refused.
        return str(node.value).encode("utf-16", "surrogatepass").decode("utf-16")

    def other(self, node: yaml.Node) -> None:
        raise _problem(node, f"{shortened(node.value)} is not text to YAML; put it in quotes")


def _parts(node: yaml.Node) -> Iterator[yaml.Node]:
    match node:
        case yaml.SequenceNode():
            yield from node.value
        case yaml.MappingNode():
            for key, value in node.value:
                yield from (key, value)


for _tag in ("int", "float"):
    _Loader.add_constructor(f"{_TAG}{_tag}", _Loader.number)
_Loader.add_constructor(f"{_TAG}str", _Loader.text)
_Loader.add_constructor(f"{_TAG}timestamp", _Loader.other)
_Loader.add_constructor(None, _Loader.other)
# YAML 1.1 takes 1e-3 for text, since it lacks the point; JSON and YAML 1.2 take it for a number.
_Loader.add_implicit_resolver(
    f"{_TAG}float",
    re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)
