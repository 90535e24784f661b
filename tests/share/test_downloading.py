"""Downloads from a local server that cuts connections, stalls, leads elsewhere, sends rubbish."""

import errno
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from hitsr.base.errors import HitsrError
from hitsr.share import downloading
from hitsr.share.downloading import check_redirect, download, part_of

CONTENT = np.random.default_rng(0).bytes(1_000_000)


class Told(NamedTuple):
    file: Path
    part: Path
    said: list[str]
    get: Callable[..., None]


@pytest.fixture
def told(server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Told:
    """A file to be downloaded, in a folder that is not there yet."""
    monkeypatch.setattr(downloading, "_PAUSE_S", 0.0)
    server.files["a.zip"] = CONTENT
    file, said = tmp_path / "downloads/a.zip", []

    def get(path: str = "a.zip", most_bytes: int = 2_000_000, **options: bool) -> None:
        url = f"{server.address}/{path}"
        download(url, file, said.append, most_bytes=most_bytes, **options)

    return Told(file, part_of(file), said, get)


def begun(told: Told, content: bytes) -> None:
    """Leave the beginning of a file, as a killed process does."""
    told.part.parent.mkdir()
    told.part.write_bytes(content)


def test_a_file_is_downloaded_whole(told: Told, server) -> None:
    told.get()
    assert told.file.read_bytes() == CONTENT
    assert (server.asked, told.said) == ([("a.zip", None)], [])
    assert list(told.file.parent.iterdir()) == [told.file]


def test_a_cut_connection_is_resumed_where_it_was_cut(told: Told, server) -> None:
    server.cuts = [400_000, 300_000]
    told.get()
    assert told.file.read_bytes() == CONTENT
    first, *others = [asked for _, asked in server.asked]
    begins = [int(asked.removeprefix("bytes=").removesuffix("-")) for asked in others]
    assert first is None
    # At most one chunk that was read is asked for again.
    assert 400_000 - 2**16 < begins[0] <= 400_000
    assert begins[0] + 300_000 - 2**16 < begins[1] <= begins[0] + 300_000
    assert [": stopped at 0." in line and "IncompleteRead" in line for line in told.said] == [
        True,
        True,
    ]


def test_many_cuts_are_borne_if_each_answer_brings_something(told: Told, server) -> None:
    server.cuts = [100_000] * 9
    told.get()
    assert told.file.read_bytes() == CONTENT


def test_a_server_without_ranges_sends_all_again(told: Told, server) -> None:
    server.knows_ranges, server.cuts = False, [400_000]
    told.get()
    assert told.file.read_bytes() == CONTENT
    assert told.said[1] == "a.zip: begins anew, since the server sends the whole file again"


@pytest.mark.parametrize("is_exact", [True, False])
def test_what_a_killed_process_left_is_continued(told: Told, server, is_exact: bool) -> None:
    begun(told, CONTENT[:600_000])
    told.get(most_bytes=len(CONTENT), is_exact=is_exact)
    assert told.file.read_bytes() == CONTENT
    assert server.asked == [("a.zip", "bytes=600000-")]
    assert not told.part.exists()


@pytest.mark.parametrize(("is_exact", "requests"), [(True, 0), (False, 1)])
def test_a_file_that_lacks_only_its_name_is_not_sent_again(
    told: Told, server, is_exact: bool, requests: int
) -> None:
    begun(told, CONTENT)
    told.get(most_bytes=len(CONTENT), is_exact=is_exact)
    assert told.file.read_bytes() == CONTENT
    assert len(server.asked) == requests


def test_what_is_longer_than_the_file_is_no_beginning_of_it(told: Told) -> None:
    begun(told, bytes(len(CONTENT) + 1))
    told.get()
    assert told.file.read_bytes() == CONTENT
    assert told.said[0] == "a.zip: begins anew, since what came before is no beginning of the file"


def test_another_part_than_the_asked_one_is_refused(told: Told, server) -> None:
    begun(told, CONTENT[:1000])
    server.range_shift = 5
    with pytest.raises(HitsrError, match="asked for bytes from 1000, the server sent 'bytes 1005-"):
        told.get()


def test_a_server_that_stalls_is_asked_again(
    told: Told, server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloading, "_SILENCE_S", 0.3)
    server.stalls = [400_000]
    told.get()
    assert told.file.read_bytes() == CONTENT
    assert server.asked[1][1] is not None
    assert "Read timed out" in told.said[0]


def test_a_server_that_always_stalls_is_given_up_and_what_came_is_kept(
    told: Told, server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloading, "_SILENCE_S", 0.1)
    server.stalls = [400_000] + [0] * 9
    with pytest.raises(HitsrError, match="Read timed out"):
        told.get()
    assert len(server.asked) == 1 + downloading._ATTEMPTS
    server.stalls = []
    told.get()
    assert told.file.read_bytes() == CONTENT
    assert server.asked[-1][1] is not None


def test_nobody_there_is_told_in_a_few_words(told: Told) -> None:
    with pytest.raises(HitsrError) as caught:
        download("http://127.0.0.1:1/a.zip", told.file, told.said.append, most_bytes=9)
    assert (
        str(caught.value) == "Failed to establish a new connection: [Errno 111] Connection refused"
    )
    assert told.said == []


def test_a_server_that_is_gone_in_the_middle_is_asked_again(told: Told, server) -> None:
    server.cuts = [400_000]
    closing = iter([server.server_close])  # after the first answer

    def say(line: str) -> None:
        told.said.append(line)
        for close in closing:
            server.shutdown()
            close()

    with pytest.raises(HitsrError, match="Connection refused"):
        download(f"{server.address}/a.zip", told.file, say, most_bytes=2_000_000)
    assert len(told.said) == downloading._ATTEMPTS
    assert told.part.stat().st_size > 300_000


@pytest.mark.parametrize(("status", "requests"), [(503, 2), (429, 2), (404, 1), (403, 1)])
def test_an_error_that_may_pass_is_tried_again(
    told: Told, server, status: int, requests: int
) -> None:
    server.statuses = [status]
    if requests == 1:
        with pytest.raises(HitsrError, match=str(status)):
            told.get()
        assert not told.file.exists()
    else:
        told.get()
        assert told.file.read_bytes() == CONTENT
    assert len(server.asked) == requests


def test_a_file_of_another_size_than_the_published_one_is_refused_at_once(told: Told) -> None:
    for size in (900_000, 1_100_000):
        with pytest.raises(HitsrError, match=f"has 1,000,000 bytes, and {size:,} were published"):
            told.get(most_bytes=size, is_exact=True)
    with pytest.raises(HitsrError, match="it has more than 0 MB"):
        told.get(most_bytes=900_000)
    assert told.part.stat().st_size == 0


def test_a_web_page_is_refused(told: Told, server) -> None:
    server.kind = "text/html; charset=utf-8"
    with pytest.raises(HitsrError, match="the server sent a web page"):
        told.get()
    assert told.part.stat().st_size == 0


def test_a_server_may_lead_to_another_address(told: Told, server) -> None:
    server.leads_to = {"old": "/a.zip"}
    told.get("old")
    assert told.file.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "scheme", ["file:///etc/passwd", "ftp://127.0.0.1/a", "data:,a", "gopher:"]
)
def test_a_server_may_not_lead_to_another_scheme(told: Told, server, scheme: str) -> None:
    server.leads_to = {"old": scheme}
    with pytest.raises(HitsrError, match=r"it leads to .*, which is not http or https"):
        told.get("old")
    assert not told.file.exists()


def test_what_was_asked_for_by_https_may_not_come_by_http() -> None:
    for location in ("https://b/c", "/c", "//b/c"):
        check_redirect("https://a", location)
    with pytest.raises(HitsrError, match="it leads to http://b/c, which is not https"):
        check_redirect("https://a", "http://b/c")


def test_an_address_of_another_scheme_is_refused(told: Told, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a")
    with pytest.raises(HitsrError, match="No connection adapters"):
        download(f"file://{tmp_path}/secret", told.file, told.said.append, most_bytes=9)
    assert not told.file.exists()


def test_too_little_room_is_told_before_the_download(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=300_000))
    with pytest.raises(OSError, match=r"1\.0 MB are needed, and 0\.3 MB are free; make room") as e:
        told.get()
    assert e.value.errno == errno.ENOSPC
    assert e.value.filename == str(told.part)


def test_after_a_full_disk_the_download_goes_on(told: Told, server) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            told.get()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.filename == str(told.part)
    told.get()
    assert told.file.read_bytes() == CONTENT
    assert server.asked[1] == ("a.zip", "bytes=300000-")
