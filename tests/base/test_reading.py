import os
from pathlib import Path
from typing import Any

import pytest

from hitsr.base.errors import DataError, SpecError
from hitsr.base.reading import read_csv, read_json, read_yaml


def _read(text: str | bytes, folder: Path, name: str = "a.yaml") -> Any:
    file = folder / name
    file.write_bytes(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
    return read_yaml(file)


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("", None),
        ("a: 1_000", {"a": 1000}),
        ("a: [1e-3, 2E+4, -1.5e3, 1.0e-3, .5, 1]", {"a": [1e-3, 2e4, -1.5e3, 1e-3, 0.5, 1]}),
        ("a: [0, 0.5, -0, 0x10, 0b11]", {"a": [0, 0.5, 0, 16, 3]}),
        (
            "a: ['010', '1:30', \"2026-01-02\", 'no', !!str 12]",
            {"a": ["010", "1:30", "2026-01-02", "no", "12"]},
        ),
        ("a: [yes, off, true, null, ~]", {"a": [True, False, True, None, None]}),
        (
            "a: &a {b: 1}\nc: {<<: *a, d: 2}\ne: *a",
            {"a": {"b": 1}, "c": {"b": 1, "d": 2}, "e": {"b": 1}},
        ),
        (
            "c: {d: &a {<<: {x: 1}, y: 2}}\ne: {<<: *a, y: 3}",
            {"c": {"d": {"x": 1, "y": 2}}, "e": {"x": 1, "y": 3}},
        ),
        ("\ufeffa: ü", {"a": "ü"}),
        (r'a: "\ud83d\ude00"', {"a": "\U0001f600"}),
    ],
)
def test_yaml_is_read_as_it_looks(text: str, data: Any, tmp_path: Path):
    assert _read(text, tmp_path) == data


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [1", "not YAML: expected ',' or ']'"),
        ("a: b: c", "not YAML: mapping values are not allowed here (line 1)"),
        ("a: 1\n\tx: 1", "not YAML: found character '\\t' that cannot start any token (line 2)"),
        ("a: 1\n---\nb: 2", "not YAML: but found another document (line 2)"),
        ("a: 1\nb: 2\na: 3", "not YAML: key 'a' is given twice; keep one (line 3)"),
        ("b: {a: 1, a: 1}", "not YAML: key 'a' is given twice; keep one (line 1)"),
        ("b: [{c: {a: 1, 'a': 1}}]", "not YAML: key 'a' is given twice"),
        ("b: {<<: {a: 1, a: 2}}", "not YAML: key 'a' is given twice"),
        ("b: &b {c: 1}\nd:\n  <<: *b\n  <<: *b", "key '<<' is given twice; keep one (line 4)"),
        ("2: 1\n0x2: 1", "key '0x2' is given twice"),
        ("yes: 1\non: 1", "key 'on' is given twice"),
        ("[1, 2]: 3", "a key is a list or mapping; keys must be text (line 1)"),
        ("? {a: 1}\n: 3", "a key is a list or mapping"),
        ("a: 010", "010 is 8 to YAML; write 8, or put text in quotes (line 1)"),
        ("a: [1, 1:30]", "1:30 is 90 to YAML; write 90"),
        ("a: 1:30.5", "1:30.5 is 90.5 to YAML"),
        ("010: a", "010 is 8 to YAML"),
        ("a: 2026-01-02", "'2026-01-02' is not text to YAML; put it in quotes (line 1)"),
        ("a: 2026-13-45", "'2026-13-45' is not text to YAML; put it in quotes"),
        ("a: =", "'=' is not text to YAML"),
        ("a: !!binary aGk=", "tag 'tag:yaml.org,2002:binary': leave it out; text goes in quotes"),
        ("a: !!python/tuple [1]", "tag 'tag:yaml.org,2002:python/tuple': leave it out"),
        ("a: !!int x", "tag 'tag:yaml.org,2002:int': leave it out"),
        ("a: !mine {b: 1}", "tag '!mine': leave it out"),
        ("a: !!str [1]", "tag 'tag:yaml.org,2002:str': leave it out"),
        ("a: !!str {b: 1}", "tag 'tag:yaml.org,2002:str': leave it out"),
        ("a: " + "1:" * 200_000 + "1", ":1' cannot be read as a value (line 1)"),
        ("a: " + "1:" * 400 + "1.5", ":1.5' cannot be read as a value (line 1)"),
        ("a: *b", "alias 'b' repeats no anchor (line 1)"),
        ("a: &a [*a]", "alias 'a' repeats what it is part of (line 1)"),
        ("a: " + "9" * 5000, "9' cannot be read as a value (line 1)"),
        ("a: 0x" + "f" * 5000, "f' cannot be read as a value (line 1)"),
        ("a: 0b" + "1" * 20_000, "1' cannot be read as a value (line 1)"),
        (r'a: "\ud800"', "cannot be read as a value (line 1)"),
        ("a: " + "[" * 3000, "values are nested more than 50 levels deep"),
        ("a: " + "[" * 3000 + "]" * 3000, "values are nested more than 50 levels deep"),
        ("a: " + "[" * 60 + "]" * 60, "values are nested more than 50 levels deep (line 1)"),
        ("a: \0", "not YAML: unacceptable character #x0000"),
        (b"\xff\xfe\x00\x80", "not text in UTF-8 (byte 0)"),
    ],
)  # fmt: skip
def test_what_is_malformed_or_could_be_misread_is_told_with_its_line(
    text: str | bytes, told: str, tmp_path: Path
):
    with pytest.raises(SpecError) as caught:
        _read(text, tmp_path)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{tmp_path / 'a.yaml'}: ")
    assert told in line
    assert len(line) < len(str(tmp_path)) + 300


@pytest.mark.parametrize(
    "repeated",
    [
        "\n".join(f"a{i}: &a{i} [{', '.join(10 * [f'*a{i - 1}'])}]" for i in range(1, 10)),
        "\n".join(f"a{i}: &a{i} {{<<: [{', '.join(10 * [f'*a{i - 1}'])}]}}" for i in range(1, 10)),
    ],
)
def test_aliases_that_multiply_are_refused(repeated: str, tmp_path: Path):
    with pytest.raises(SpecError, match="with its aliases, the file holds more than 100000 values"):
        _read(f"a0: &a0 {{b: 1}}\n{repeated}", tmp_path)


def test_aliases_that_nest_are_refused(tmp_path: Path):
    nested = "\n".join(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 60))
    with pytest.raises(SpecError, match=r"more than 50 levels deep \(line 51\)"):
        _read(f"a0: &a0 1\n{nested}", tmp_path)


@pytest.mark.parametrize("read", [read_yaml, read_json])
def test_what_is_no_file_is_told(read: Any, tmp_path: Path):
    with pytest.raises(SpecError, match=r"gone\.json: no such file"):
        read(tmp_path / "gone.json")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(SpecError, match=r"folder\.json: cannot be read: Is a directory; name a"):
        read(tmp_path / "folder.json")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "not JSON at line 1 column 2: Expecting property name"),
        ('{"a": 1, "a": 2}', "key 'a' is given twice; keep one"),
        ('{"b": [{"a": 1, "a": 2}]}', "key 'a' is given twice; keep one"),
        ("[" * 30000, "nested too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "a whole number of 5000 digits"),
        (r'{"a": ["\uD800"]}', "half of a character, such as \\ud800"),
        (b"\xff{}", "not text in UTF-8 (byte 0)"),
    ],
)
def test_malformed_json_is_told(text: str | bytes, told: str, tmp_path: Path):
    with pytest.raises(SpecError) as caught:
        _read(text, tmp_path, "a.json")
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{tmp_path / 'a.json'}: {told}")


def test_all_of_json_is_read(tmp_path: Path):
    text = '{\n\t"a": "\\ud83d\\ude00\\/\x7f\u2028", "010": 1e-3\n}'
    assert _read(text, tmp_path, "a.json") == {"a": "\U0001f600/\x7f\u2028", "010": 1e-3}


def test_files_without_end_or_reason_are_not_read(tmp_path: Path):
    (tmp_path / "a.yaml").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "b.json")
    for name in ("a.yaml", "b.json"):
        with pytest.raises(SpecError, match=f"{name}: cannot be read: it is a device or pipe; nam"):
            read_yaml(tmp_path / name)
    with pytest.raises(SpecError, match=r"c\.yaml: cannot be read: it has more than 1\.0 MB; name"):
        _read("#" * (10**6 + 1), tmp_path, "c.yaml")
    (tmp_path / "d.csv").write_text("a\n" + "b" * 200_000)
    with pytest.raises(DataError, match=r"d\.csv: field larger than field limit"):
        read_csv(tmp_path / "d.csv")


def test_yaml_tags_cannot_run_code(tmp_path: Path):
    with pytest.raises(SpecError):
        _read(f"!!python/object/apply:pathlib.Path.touch [{tmp_path / 'ran'}]\n", tmp_path)
    assert not (tmp_path / "ran").exists()


def test_files_of_windows_editors_are_read(tmp_path: Path):
    file = tmp_path / "a.csv"
    file.write_bytes('\ufeffname,note\r\nü,"a\r\nb"\r\n'.encode())
    assert read_csv(file) == [{"name": "ü", "note": "a\r\nb"}]
    for text in ("name: ü\r\nnote: b\r\n", '{"name": "ü",\r\n "note": "b"}'):
        file.write_bytes(f"\ufeff{text}".encode())
        assert read_yaml(file) == {"name": "ü", "note": "b"}


def test_a_table_that_cannot_be_read_is_named(tmp_path: Path):
    (tmp_path / "a.csv").write_bytes(b"name\n\xff\n")
    with pytest.raises(DataError, match=r"a\.csv: not UTF-8; restore it"):
        read_csv(tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"b\.csv: No such file or directory; restore it"):
        read_csv(tmp_path / "b.csv")
