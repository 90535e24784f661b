"""What holds for the whole page: tables, themes, widths, print, access."""

import re
from itertools import pairwise

import pytest

from hitsr.report.compare import compare_folders
from hitsr.report.compare_page import to_html
from hitsr.report.comparison import KINDS, Tolerances
from hitsr.report.index import write_index

WIDTHS = (390, 768, 1440)

# Elements with text of their own that is seen, and its contrast with what is painted behind.
CONTRASTS = r"""
() => {
  const parse = (text) => {
    const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number);
    return [r, g, b, a];
  };
  const over = ([r, g, b, a], [R, G, B]) => [r, g, b].map((c, i) => c * a + [R, G, B][i] * (1 - a));
  const light = (colour) => {
    const [r, g, b] = colour.map((c) => c / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      layers.push(parse(getComputedStyle(at).backgroundColor));
      if (layers.at(-1)[3] === 1) break;
    }
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  document.querySelectorAll("details").forEach((details) => { details.open = true; });
  const found = [];
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || element.closest("script, style, option, .sr, .skip")) continue;
    if (!element.checkVisibility({ visibilityProperty: true })) continue;
    const style = getComputedStyle(element);
    const colour = parse(element.closest("svg") ? style.fill : style.color);
    const ground = behind(element.closest("svg") ?? element);
    const [a, b] = [light(over(colour, ground)), light(ground)].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), element.textContent.trim().slice(0, 40)]);
  }
  return found;
}
"""


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_reaches_beyond_the_window(visit, width):
    page = visit(width=width)
    page.eval_on_selector_all("details", "all => all.forEach(each => { each.open = true; })")
    # Tables that are too wide get their scroll bars after the page was laid out.
    page.wait_for_function("width => document.documentElement.scrollWidth <= width", arg=width)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out_from_its_ground(visit, theme):
    contrasts = visit(color_scheme=theme).evaluate(CONTRASTS)
    assert len(contrasts) > 100
    assert [found for found in contrasts if found[0] < 4.5] == []


@pytest.mark.parametrize("width", [390, 1440])
def test_axe_finds_nothing_in_either_theme(visit, width):
    from axe_playwright_python.sync_playwright import Axe

    page = visit(width=width, color_scheme="light")
    page.eval_on_selector_all("details", "all => all.forEach(each => { each.open = true; })")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    # A theme changes colours alone.
    page.emulate_media(color_scheme="dark")
    found = Axe().run(page, options={"runOnly": ["color-contrast"]})
    assert found.violations_count == 0, found.generate_report()
    assert found.response["passes"]


def column(page, index: int) -> list[str]:
    rows = page.locator("#quality table").first.locator("tbody tr:not(.title)")
    return [row.locator("th, td").nth(index).inner_text() for row in rows.all()]


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_a_heading_sorts_down_then_up_and_a_third_press_restores(visit, by):
    page = visit()
    heading = page.locator("#quality th[data-col='1']").first
    button = heading.locator("button")
    assert button.evaluate("button => button.tagName") == "BUTTON"
    original = column(page, 1)

    def press():
        if by == "mouse":
            button.click()
        else:
            button.focus()
            page.keyboard.press("Enter")
        return heading.get_attribute("aria-sort"), column(page, 1), page.inner_text("#live")

    def numbers(cells):
        return [float(cell) for cell in cells if re.fullmatch(r"[\d.]+", cell)]

    order, down, said = press()
    assert order == "descending"
    assert numbers(down) == sorted(numbers(original), reverse=True)
    assert said.startswith("Sorted by")
    order, up, _ = press()
    assert order == "ascending"
    assert numbers(up) == sorted(numbers(original))
    assert not re.fullmatch(r"[\d.]+", up[-1])  # what is no number stays last
    order, again, said = press()
    assert (order, again, said) == (None, original, "Original order")


def test_a_long_table_is_filtered_by_what_is_typed(visit):
    page = visit()
    page.eval_on_selector_all("details", "all => all.forEach(each => { each.open = true; })")
    rows = page.locator("#provenance table tbody tr")
    every = rows.count()
    assert every >= 20
    page.get_by_label("Filter rows").last.fill("Latency, HIT")
    shown = [row.inner_text() for row in rows.all() if row.is_visible()]
    assert len(shown) == 4  # one picture and four at once, in two formulations
    assert all(words.startswith("latency, hit_sir-x2") for words in shown)
    assert page.inner_text("#live") == f"4 of {every} rows"
    page.get_by_label("Filter rows").last.fill("")
    assert all(row.is_visible() for row in rows.all())


def test_the_theme_button_goes_round(visit):
    page = visit(color_scheme="dark")

    def ground():
        return page.evaluate("getComputedStyle(document.documentElement).backgroundColor")

    auto = ground()
    grounds = []
    for name in ("light", "dark", "auto"):
        page.locator("#theme").press("Enter")
        assert page.inner_text("#theme").lower() == f"theme: {name}"
        grounds.append(ground())
    assert grounds[0] != grounds[1] == grounds[2] == auto


def test_every_picture_says_what_it_shows(visit):
    page = visit()
    images = page.eval_on_selector_all("img", "all => all.map(image => image.alt)")
    assert len(images) > 10
    assert all(images)
    drawings = page.eval_on_selector_all(
        "svg:not([aria-hidden])",
        "all => all.map(svg => svg.getAttribute('role') + (svg.ariaLabel "
        "|| document.getElementById(svg.getAttribute('aria-labelledby'))?.textContent || ''))",
    )
    assert all(described.startswith("img") and len(described) > 10 for described in drawings)


def test_headings_and_tables_are_marked_up_for_those_who_do_not_see(visit):
    page = visit()
    levels = page.eval_on_selector_all("h1, h2, h3", "all => all.map(h => Number(h.tagName[1]))")
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.locator("th:not([scope])").count() == 0
    unnamed = "all => all.filter(box => !box.labels?.length && !box.ariaLabel).map(box => box.id)"
    assert page.eval_on_selector_all("input, select", unnamed) == []


def test_the_first_stop_of_the_tab_key_skips_to_the_report(visit):
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    page.wait_for_url("**#main")


def test_motion_is_reduced_where_asked_for(visit):
    motions = [
        visit(reduced_motion=motion).evaluate(
            "getComputedStyle(document.documentElement).scrollBehavior"
        )
        for motion in ("no-preference", "reduce")
    ]
    assert motions == ["smooth", "auto"]


def test_paper_shows_everything_but_controls(visit):
    page = visit(color_scheme="dark")
    printed = page.pdf(format="A4", print_background=True, prefer_css_page_size=True)
    assert printed.startswith(b"%PDF")
    assert printed.count(b"/Type /Page\n") >= 3
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    assert not page.locator("#theme").is_visible()
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_index_reads_well_too_and_leads_to_the_report(visit, site, reports, theme):
    write_index(site.parents[1], reports / "templates")
    page = visit(site.parents[1] / "index.html", width=390, color_scheme=theme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert [found for found in page.evaluate(CONTRASTS) if found[0] < 4.5] == []
    page.get_by_role("link", name="A tiny <report> & more").click()
    page.wait_for_url("**/report/index.html")


def test_a_comparison_reads_well_too(visit, results, reports, tmp_path):
    allowed = Tolerances(counts=0, latency=0, memory=0, loss=0, psnr_db=0, ssim=0)
    compared = compare_folders(results.path, results.path, allowed, KINDS)
    (tmp_path / "compare.html").write_text(to_html(compared, reports / "templates"))
    for theme in ("light", "dark"):
        page = visit(tmp_path / "compare.html", width=390, color_scheme=theme)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert [found for found in page.evaluate(CONTRASTS) if found[0] < 4.5] == []


def test_pictures_beside_the_page_are_fetched_when_they_are_seen(
    visit, results, tmp_path, monkeypatch
):
    monkeypatch.setattr("hitsr.report.embedding.EMBEDDED_LIMIT", 0)
    page = visit(results.render(out=tmp_path / "report") / "index.html")
    crop = page.locator(".crop img").first
    assert crop.get_attribute("loading") == "lazy"
    crop.scroll_into_view_if_needed()
    page.wait_for_function("image => image.naturalWidth > 0", arg=crop.element_handle())
    page.locator("#explore-rank").scroll_into_view_if_needed()
    page.wait_for_function("document.querySelector('#explored-hr').naturalWidth === 112")
