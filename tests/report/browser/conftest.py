"""The page in a real browser: Debian's chromium, headless, cut off from every other machine."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hitsr.base.files import sha256
from hitsr.report.gather import gather

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


# Not for the whole session: while it runs, nothing else in the process can start an event loop.
@pytest.fixture(scope="module")
def browser():
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def results(measured):
    """Two networks with two seeds on two sets, with every kind of record.

    Each method's pictures are its own.
    """
    for seed, path in enumerate(sorted((measured.path / "pictures").rglob("*.png"))):
        noise = np.random.default_rng(seed).integers(0, 255, (120, 160, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
    for path in sorted((measured.path / "records/quality").glob("*.json")):
        pictures = json.loads(path.read_text(encoding="utf-8"))["pictures"]
        for picture in pictures:
            made = measured.output("restore", path.stem) / f"{picture['name']}.png"
            picture["sr_sha256"] = sha256(made)
        measured.edit("quality", path.stem, pictures=pictures)
    assert not gather(measured.plan).reasons
    return measured


@pytest.fixture(scope="session")
def site(results) -> Path:
    """The folder of the rendered report."""
    return results.render()


@pytest.fixture
def visit(browser, site):
    """Opens a page of the site: `visit(width=390, color_scheme="dark")`.

    The test fails if the page logs anything, throws, or asks for what is not beside it.
    """
    problems: list[str] = []
    contexts = []

    def visit(path: Path = site / "index.html", width: int = 1440, **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        inside = path.parent.as_uri() + "/"

        def judge(route):
            if route.request.url.startswith((inside, "data:")):
                route.continue_()
            else:
                problems.append(f"asked for {route.request.url}")
                route.abort()

        page = context.new_page()
        page.route("**/*", judge)
        page.on("console", lambda message: problems.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: problems.append(f"threw {error}"))
        page.on("requestfailed", lambda request: problems.append(f"failed {request.url[:200]}"))
        page.goto(path.as_uri())
        return page

    yield visit
    for context in contexts:
        context.close()
    assert problems == []
