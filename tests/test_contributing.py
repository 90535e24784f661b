"""The files for contributors: what they name is there, and they are what they are read as."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import hitsr

ROOT = Path(__file__).parents[1]
FORMS = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("[!c]*.yml"))
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_files_and_names_in_contributing_are_there():
    spans = set(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", CONTRIBUTING, flags=re.S)))
    paths = {each for each in spans if re.fullmatch(r"[\w./]+/[\w./]*", each)}
    assert len(paths) > 15
    assert {path for path in paths if not (ROOT / path).exists()} == set()
    names = {each for each in spans if re.fullmatch(r"_?[A-Za-z]+(_[a-z]+)*", each)} - {
        "test_merge"
    }
    assert {"DATASETS", "QUANTITIES", "complexity_table", "_misfits"} <= names
    sources = "\n".join(
        path.read_text(encoding="utf-8")
        for folder in ("hitsr", "tests")
        for path in (ROOT / folder).rglob("*.py")
    )
    assert {name for name in names if not re.search(rf"\b{name}\b", sources)} == set()


def test_commands_in_contributing_run():
    (block,) = re.findall(r"```console\n(.*?)```", CONTRIBUTING, re.S)
    commands = [line.partition("  #")[0].split() for line in block.splitlines()]
    made = [target for tool, target, *_ in commands if tool == "make"]
    assert {"setup", "test", "lint", "docs", "coverage"} <= set(made)
    subprocess.run(["make", "--dry-run", *made], cwd=ROOT, check=True, capture_output=True)
    tested = [path for tool, path, *_ in commands if tool == ".venv/bin/pytest"]
    assert tested
    assert all((ROOT / path).exists() for path in tested)


def test_commits_are_checked_by_the_tools_of_make_lint_and_by_no_other_version():
    (repository,) = read(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    assert {hook["language"] for hook in repository["hooks"]} == {"system"}
    entries = [hook["entry"].replace(" --fix", "") for hook in repository["hooks"]]
    linted = (ROOT / "Makefile").read_text().partition("\nlint:")[2].partition("\n\n")[0]
    for entry in entries:
        assert entry.removeprefix(".venv/bin/") in linted
    assert {entry.split()[0] for entry in entries} == {
        f".venv/bin/{tool}" for tool in ("ruff", "snakefmt", "mypy")
    }


def test_the_citation_is_of_this_version_and_names_the_paper():
    cited = read(ROOT / "CITATION.cff")
    assert cited["cff-version"] == "1.2.0"
    assert {"title", "message", "authors"} <= set(cited)
    assert str(cited["version"]) == hitsr.__version__
    (paper,) = cited["references"]
    assert [author["family-names"] for author in paper["authors"]] == ["Zhang", "Zhang", "Yu"]
    assert {"type", "title", "authors"} <= set(paper)


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_for_issues_is_one(path: Path):
    form = read(path)
    assert {"name", "description", "body"} <= set(form)
    asked = [part for part in form["body"] if part["type"] != "markdown"]
    assert all(part["attributes"]["label"] for part in asked)
    ids = [part["id"] for part in asked]
    assert len(ids) == len(set(ids)) > 0


def test_there_are_three_forms_and_a_bug_brings_what_doctor_says():
    assert [path.stem for path in FORMS] == ["bug", "network", "number"]
    assert "hitsr doctor" in (ROOT / ".github/ISSUE_TEMPLATE/bug.yml").read_text()
    assert read(ROOT / ".github/ISSUE_TEMPLATE/config.yml")["blank_issues_enabled"] is True
    assert (ROOT / ".github/pull_request_template.md").is_file()
