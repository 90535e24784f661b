from urllib.parse import unquote

import pytest

from hitsr.report.embedding import (
    EMBEDDED_LIMIT,
    PagePicture,
    data_uri,
    fits,
    relative_uri,
    write_beside,
)


def test_pictures_fit_up_to_the_limit_of_their_base64():
    assert fits([PagePicture("a", bytes(EMBEDDED_LIMIT // 4 * 3))])
    assert not fits([PagePicture("a", bytes(EMBEDDED_LIMIT // 4 * 3)), PagePicture("b", b"1")])
    assert len(data_uri(PagePicture("a", bytes(30)))) == len("data:image/webp;base64,") + 40


def test_names_that_mean_something_in_an_address_are_escaped():
    picture = PagePicture("Set5-x2/50% #1?.hit_sir.webp", b"")
    assert unquote(relative_uri(picture)) == picture.path
    assert not set("#? ") & set(relative_uri(picture))


def test_the_folder_holds_exactly_the_pictures_of_the_page(tmp_path):
    write_beside([PagePicture("a/1.webp", b"one"), PagePicture("a/2.webp", b"two")], tmp_path)
    write_beside([PagePicture("a/2.webp", b"new")], tmp_path)
    assert [path.name for path in tmp_path.rglob("*.webp")] == ["2.webp"]
    assert (tmp_path / "pictures/a/2.webp").read_bytes() == b"new"


@pytest.mark.parametrize("limit", [EMBEDDED_LIMIT, 0])
def test_the_page_holds_its_pictures_or_they_lie_beside_it(full, monkeypatch, limit):
    monkeypatch.setattr("hitsr.report.embedding.EMBEDDED_LIMIT", limit)
    out = full.render()
    html = (out / "index.html").read_text()
    beside = [path.relative_to(out).as_posix() for path in out.rglob("*.webp")]
    assert bool(beside) == (limit == 0)
    assert html.count("data:image/webp") == (0 if beside else 5 + 2 * 4)
    assert html.count('loading="lazy"') == (5 if beside else 0)
    assert all(name in html for name in beside)
