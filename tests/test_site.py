"""The site of docs: its nav, its links and its reference.

`make docs` builds the site: it executes the tour, and checks each link and anchor of each page.
"""

import importlib.util
import re
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import griffe
import pytest
from mkdocs.config import load_config
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import get_files

import hitsr

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs/site/hooks.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def config() -> Any:
    return load_config(str(ROOT / "mkdocs.yml"))


def test_the_nav_holds_every_page_of_docs_once_and_each_is_there(hooks, config):
    listed = [*hooks._pages(config.nav)]
    named = set(listed)
    assert len(listed) == len(named), "a page is twice in the nav of mkdocs.yml"
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert pages - named == set(), "not in the nav of mkdocs.yml"
    assert {name for name in named if not (ROOT / name).is_file()} == set(), "no such file"


def test_the_sites_tree_is_the_repositorys_and_what_pages_link_to_is_on_it(hooks, config):
    files = config.plugins.on_files(get_files(config), config=config)
    pages = {file.src_uri: file for file in files.documentation_pages()}
    assert pages["README.md"].dest_uri == "index.html"
    assert pages["docs/gpu.md"].dest_uri == "docs/gpu.html"
    shift = (ROOT / "ablations/shift.yaml").read_text(encoding="utf-8")
    assert shift in pages["ablations.md"].content_string
    for uri, file in pages.items():
        page = SimpleNamespace(file=file, is_homepage=uri == "README.md", meta={})
        text = hooks.on_page_markdown(file.content_string, page, files)
        for link in hooks.LINK.findall(re.sub(r"```.*?```", "", text, flags=re.S)):
            target = ((ROOT / uri).parent / link).resolve().relative_to(ROOT).as_posix()
            assert files.get_file_from_path(target), f"{uri}: {link}"


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('<a href="gone.html">', "gone.html: no such file"),
        ('<img src="gone.png">', "gone.png: no such file"),
        ('<a href="#gone">', "#gone: no such anchor"),
        ('<a href="other.html#gone">', "other.html#gone: no such anchor"),
        ('<script src="https://cdn.example/x.js"></script>', "loads https://cdn.example/x.js"),
        ('<link rel="stylesheet" href="//cdn.example/x.css">', "loads //cdn.example/x.css"),
    ],
)
def test_a_built_page_with_a_dead_link_or_a_foreign_file_is_refused(
    hooks, tmp_path: Path, body: str, fault: str
):
    (tmp_path / "other.html").write_text('<h1 id="top">')
    (tmp_path / "page.html").write_text(body)
    with pytest.raises(PluginError, match=re.escape(fault)):
        hooks.on_post_build(SimpleNamespace(site_dir=str(tmp_path)))


def test_a_style_from_elsewhere_is_refused(hooks, tmp_path: Path):
    (tmp_path / "x.css").write_text('@import "https://cdn.example/x.css";')
    with pytest.raises(PluginError, match=r"x\.css: loads https://cdn"):
        hooks.on_post_build(SimpleNamespace(site_dir=str(tmp_path)))


def test_living_links_and_links_to_elsewhere_pass(hooks, tmp_path: Path):
    (tmp_path / "other.html").write_text('<h1 id="top">')
    links = ("other.html#top", "#here", "https://example.org/paper", "mailto:a@example.org")
    anchors = "".join(f'<a id="here" href="{link}">' for link in links)
    (tmp_path / "page.html").write_text(anchors)
    hooks.on_post_build(SimpleNamespace(site_dir=str(tmp_path)))


def test_the_theme_takes_no_font_from_elsewhere(config):
    assert config.theme["font"] is False
    assert not any("//" in str(each) for each in [*config.extra_css, *config.extra_javascript])


def test_the_reference_holds_every_public_name_and_only_modules_that_are_there():
    pages = {path.stem: path.read_text() for path in (ROOT / "docs/reference").glob("*.md")}
    entries = {name: re.findall(r"(?m)^::: (\S+)", text) for name, text in pages.items()}
    documented = {entry.removeprefix("hitsr.") for entry in entries.pop("hitsr")}
    assert documented | {"NETWORKS"} == set(hitsr.__all__)
    modules = [entry for found in entries.values() for entry in found]
    assert len(modules) > 20
    assert [name for name in modules if not importlib.util.find_spec(name)] == []


def test_a_class_of_the_reference_shows_its_fields_with_their_comments():
    extensions = griffe.load_extensions(str(ROOT / "docs/site/fields.py"))
    module = griffe.load("hitsr.specs.network", search_paths=[ROOT], extensions=extensions)
    docstring = module["Windows"].docstring.value
    assert docstring.startswith("Side of each block's windows")
    assert "shift: StrictBool = True  # by half a window" in docstring
    assert docstring.rstrip().endswith("```")
    comment = module["Correlation"].docstring.value
    assert comment.index("# LayerNorm over fewer") < comment.index("position_width: Annotated")
    assert "def " not in module["NetworkSpec"].docstring.value
