"""Hooks of MkDocs: the site's tree is the repository's, and what it leads to is checked.

MkDocs takes pages from docs/ alone, but README and others link across that border. So every file
of the site has its path in the repository as its name, and relative links work unchanged. Files
and folders of the repository that pages link to, such as configs, become pages that show them.
"""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
FONTS = ROOT / "reports" / "templates" / "fonts"
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)")
LANGUAGES = {".py": "python", ".yaml": "yaml"}
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """All that the site is made of, by its path in the repository."""
    docs = Path(config.docs_dir)
    inside, themes = [], []
    for file in files:
        (inside if file.src_dir == config.docs_dir else themes).append(file)
    paths = {docs / file.src_uri for file in inside} - {*docs.rglob("*.py"), *docs.rglob("*.yaml")}
    paths |= {ROOT / name for name in _pages(config.nav) if (ROOT / name).is_file()}
    paths |= {*FONTS.glob("*.woff2")}
    shown = [_showing(path, config) for path in sorted(_led_to(paths) - paths)]
    return Files([*themes, *(_file(path, config) for path in sorted(paths)), *shown])


def on_page_markdown(markdown: str, page: Page, files: Files, **_: object) -> str:
    """Links to files and folders that are shown on a page lead to that page."""
    if page.is_homepage:
        page.meta["hide"] = ["navigation"]
    folder = (ROOT / page.file.src_uri).parent

    def led(found: re.Match[str]) -> str:
        path = (folder / found[1]).resolve()
        uri = f"{_uri(path)}.md" if path.is_relative_to(ROOT) else ""
        return f"{found[1].rstrip('/')}.md" if files.get_file_from_path(uri) else found[1]

    return LINK.sub(led, markdown)


def on_post_build(config: MkDocsConfig) -> None:
    """Fail if a link of a built page leads nowhere, or a page loads anything from elsewhere."""
    site = Path(config.site_dir)
    built = {*site.rglob("*.html")} - {site / "404.html"}  # has addresses from a server's root
    pages = {path: _Parts(path) for path in sorted(built)}
    faults = [fault for path, parts in pages.items() for fault in parts.faults(pages)]
    faults += [
        f"{path}: loads {url}"
        for path in sorted(site.rglob("*.css"))
        for url in re.findall(r"(?:url\(|@import)\s*['\"]?(https?:[^)'\";\s]+)", path.read_text())
    ]
    if faults:
        raise PluginError("\n".join(faults))


class _Parts(HTMLParser):
    """The ids of a built page, and all that it links to or loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value for name, value in attrs if value is not None}
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if (url := values.get(LOADED.get(tag, ""))) and values.get("rel") != "canonical":
            self.loaded.append(url)

    def faults(self, pages: "dict[Path, _Parts]") -> Iterator[str]:
        for url in dict.fromkeys(self.loaded):
            if urlsplit(url).netloc:
                yield f"{self.path}: loads {url}"
        for url in dict.fromkeys([*self.links, *self.loaded]):
            parts = urlsplit(url)
            if parts.scheme or parts.netloc:
                continue
            target = (self.path.parent / unquote(parts.path)).resolve() if parts.path else self.path
            target = target / "index.html" if target.is_dir() else target
            anchor = unquote(parts.fragment)
            if not target.is_file():
                yield f"{self.path}: {url}: no such file"
            elif anchor and target in pages and anchor not in pages[target].ids:
                yield f"{self.path}: {url}: no such anchor"


def _pages(nav: object) -> Iterator[str]:
    """Paths of pages that a nav names, at any depth."""
    match nav:
        case str():
            yield nav
        case list():
            for entry in nav:
                yield from _pages(entry)
        case dict():
            yield from _pages([*nav.values()])


def _led_to(paths: set[Path]) -> set[Path]:
    """Files and folders of the repository that Markdown files link to."""
    texts = [(path.parent, path.read_text()) for path in paths if path.suffix == ".md"]
    found = {(folder / link).resolve() for folder, text in texts for link in LINK.findall(text)}
    return {path for path in found if path.is_relative_to(ROOT) and path.exists()}


def _file(path: Path, config: MkDocsConfig) -> File:
    return File(_uri(path), str(ROOT), config.site_dir, config.use_directory_urls)


def _showing(path: Path, config: MkDocsConfig) -> File:
    """A page that shows a file, or each file of a folder but its README, which is a page."""
    files = [path] if path.is_file() else sorted({*path.glob("*.*")} - {*path.glob("*.md")})
    parts = [f"# {_uri(path)}"]
    for file in files:
        parts += [f"## {file.name}"] if path.is_dir() else []
        parts += [f"````{LANGUAGES.get(file.suffix, 'text')}\n{file.read_text()}\n````"]
    content, hidden = "\n\n".join(parts), InclusionLevel.NOT_IN_NAV
    return File.generated(config, f"{_uri(path)}.md", content=content, inclusion=hidden)


def _uri(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()
