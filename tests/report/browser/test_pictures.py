"""Zoom, slider and explorer, by mouse and by keyboard."""

import json

import pytest


def state(page) -> dict[str, float]:
    """Centre and zoom of the first row."""
    return page.eval_on_selector(
        ".quali",
        "row => Object.fromEntries(['x', 'y', 'z'].map("
        "key => [key, Number(row.style.getPropertyValue('--' + key))]))",
    )


def middle(page, selector: str) -> tuple[float, float]:
    locator = page.locator(selector).first
    locator.scroll_into_view_if_needed()
    box = locator.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(page, selector: str, right: float, down: float = 0) -> None:
    x, y = middle(page, selector)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + right, y + down, steps=4)
    page.mouse.up()


def text(page, selector: str) -> str:
    return page.locator(selector).first.inner_text()


def test_arrows_move_all_crops_of_a_row_and_plus_and_minus_zoom(visit):
    page = visit()
    before = state(page)
    page.locator(".over").first.focus()
    page.keyboard.press("+")
    assert state(page)["z"] == before["z"] + 1
    assert text(page, ".zoomed") == f"{before['z'] + 1:g}×"
    page.keyboard.press("-")
    page.keyboard.press("-")
    before = state(page)
    towards, sign = ("ArrowRight", 1) if before["x"] < 0.5 else ("ArrowLeft", -1)
    page.keyboard.press(towards)
    assert state(page)["x"] == pytest.approx(before["x"] + sign * 0.16 / 3)
    crops = page.eval_on_selector_all(
        ".quali:first-of-type .crop img", "all => all.map(image => getComputedStyle(image).left)"
    )
    assert len(set(crops[:4])) == 1


def test_the_zoom_control_and_the_mouse_do_the_same(visit):
    page = visit()
    page.locator(".zoom").first.focus()
    page.keyboard.press("Home")
    assert state(page) == {"x": 0.5, "y": 0.5, "z": 1}
    page.keyboard.press("ArrowRight")
    page.mouse.click(*middle(page, ".over"))
    assert state(page)["x"] == pytest.approx(0.5, abs=0.01)
    width = page.locator(".crop").first.bounding_box()["width"]
    drag(page, ".crop", -width / 4)
    assert state(page)["x"] == pytest.approx(0.5 + 1 / 4 / 2, abs=0.01)


def test_rows_zoom_apart(visit):
    page = visit()
    before = state(page)
    page.locator(".over").nth(1).focus()
    page.keyboard.press("+")
    assert state(page) == before


def test_the_slider_follows_keys_and_mouse(visit):
    page = visit()
    position = page.locator("#position")
    position.focus()
    page.keyboard.press("ArrowRight")
    assert position.input_value() == "51"
    width = page.locator("#slider").bounding_box()["width"]
    drag(page, "#slider", width / 4)
    assert float(position.input_value()) == pytest.approx(75, abs=1)
    shown = page.eval_on_selector("#slider", "box => box.style.getPropertyValue('--p')")
    assert float(shown.removesuffix("%")) == pytest.approx(75, abs=1)


def test_the_slider_shows_what_is_chosen_of_the_chosen_picture(visit):
    page = visit()
    assert (text(page, "#name-left"), text(page, "#name-right")) == ("Bicubic", "HiT-SIR")
    page.select_option("#choose-left", "swinir_light")
    page.select_option("#choose-picture", "Set5-x2")
    source = page.get_attribute("#shown-left", "src")
    assert source == page.get_attribute("#picture-Set5-x2-swinir_light", "src")
    assert page.get_attribute("#shown-left", "alt").startswith("SwinIR-Light, crop of brick")


def test_a_method_without_pictures_cannot_be_chosen(visit):
    page = visit()
    page.eval_on_selector("#picture-Set5-x2-hit_sir", "image => image.remove()")
    page.select_option("#choose-right", "hit_sir")
    page.select_option("#choose-picture", "Set5-x2")
    assert page.input_value("#choose-right") == "hr"
    assert page.locator("#choose-right option[value=hit_sir]").is_disabled()


def bars(page) -> list[float]:
    """Heights of the explorer's bars, in order."""
    return page.eval_on_selector_all(
        "#explore-bars rect:not(.column)",
        "all => all.map(bar => Number(bar.getAttribute('height')))",
    )


def test_the_explorer_sorts_by_the_difference_of_the_chosen_two(visit):
    page = visit()
    assert "HiT-SIR is ahead of SwinIR-Light on 2 of 2" in text(page, "#explore-found")
    assert "+0.50 dB" in text(page, "#explore-found")
    page.select_option("#explore-first", "hit_sir")
    page.select_option("#explore-second", "bicubic")
    assert "Bicubic is ahead of HiT-SIR on 0 of 2" in text(page, "#explore-found")
    assert "−1.00 dB" in text(page, "#explore-found")
    assert bars(page) == sorted(bars(page), reverse=True)


def test_order_is_by_size_or_by_sign(visit, site, tmp_path):
    """Of differences -3, 1 and 2 dB."""
    html = (site / "index.html").read_text()
    start = html.index('id="explore-data">') + len('id="explore-data">')
    end = html.index("</script>", start)
    data = json.loads(html[start:end])
    data[0]["pictures"] = [
        {"name": f"{gain:+d}", "psnr": {"swinir_light": 30, "hit_sir": 30 + gain}, "crops": {}}
        for gain in (1, -3, 2)
    ]
    (tmp_path / "index.html").write_text(html[:start] + json.dumps(data) + html[end:])
    page = visit(tmp_path / "index.html")
    assert "on 2 of 3" in text(page, "#explore-found")
    assert "its mean difference is 0.00 dB" in text(page, "#explore-found")
    assert text(page, "#explore-read").startswith("1 of 3: -3, −3.00")
    ticks = page.eval_on_selector_all("#explore-bars text", "all => all.map(t => t.textContent)")
    assert ticks == ["−2", "0", "+2"]
    assert text(page, "#explore-none").startswith("No crops")
    page.select_option("#explore-order", "sign")
    assert text(page, "#explore-read").startswith("1 of 3: +2, +2.00")


def test_a_picture_is_picked_by_keys_and_by_mouse_and_its_crops_follow(visit):
    page = visit()
    data = json.loads(page.locator("#explore-data").text_content())
    crops = {picture["name"]: picture["crops"] for picture in data[0]["pictures"]}

    def check(rank: int) -> str:
        read = text(page, "#explore-read")
        name = read.split(": ")[1].split(",")[0]
        assert read.startswith(f"{rank} of 2")
        assert page.get_attribute("#explore-rank", "aria-valuetext") == read
        assert page.get_attribute("#explored-second", "src") == crops[name]["hit_sir"]
        assert page.get_attribute("#explored-hr", "src") == crops[name]["hr"]
        assert page.locator("#explore-bars rect.on").count() == 1
        return name

    first = check(1)
    page.locator("#explore-rank").focus()
    page.keyboard.press("ArrowRight")
    second = check(2)
    assert first != second
    page.locator("#explore-bars .column").first.click()
    assert check(1) == first


def test_choosing_another_set_shows_its_pictures(visit):
    page = visit()
    page.select_option("#explore-set", "Set5-x2")
    assert "of Set5 ×2" in text(page, "#explore-found")


def test_without_the_script_crops_are_there_and_controls_are_not(visit):
    page = visit(java_script_enabled=False)
    assert page.locator(".crop img").first.is_visible()
    assert not page.locator("#slider").is_visible()
    assert not page.locator("#explorer").is_visible()
    assert not page.locator("#theme").is_visible()
