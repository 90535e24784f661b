"""Servers that lie about length, type and place, send without end, or send bombs."""

import gzip
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

import pytest

from hitsr.base.errors import HitsrError
from hitsr.share import downloading
from hitsr.share.downloading import download, part_of

Answer = Callable[[BaseHTTPRequestHandler], None]


class Liar(ThreadingHTTPServer):
    """Gives one answer to every request, and counts them."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer, self.asked = answer, 0


class _Handler(BaseHTTPRequestHandler):
    server: Liar

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.asked += 1
        with suppress(OSError):
            self.server.answer(self)


@pytest.fixture
def served() -> Iterator[Callable[[Answer], Liar]]:
    running = []

    def start(answer: Answer) -> Liar:
        server = Liar(answer)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        running.append(server)
        return server

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def _says(status: int, body: bytes = b"", **fields: str) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in fields.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)

    return answer


def _sends(data: bytes) -> Answer:
    return lambda request: cast(None, request.wfile.write(data))


def _without_end(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    while True:
        request.wfile.write(bytes(2**16))


def _leads_on(request: BaseHTTPRequestHandler) -> None:
    _says(302, Location=f"{request.path}x")(request)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (_says(200, b"<p>", Content_Type="Text/HTML"), "the server sent a web page"),
        (_says(200, b"<p>", Content_Type=" text/html ; a"), "the server sent a web page"),
        (_says(200, b"x", Content_Length="many"), "announced 'many' bytes"),
        (_says(200, b"x", Content_Length="-5"), "announced '-5' bytes"),
        (_says(200, b"x", Content_Length="9" * 30), "more than 1 MB"),
        (_says(206, b"x", Content_Range="bytes 7-8/9"), "asked for bytes from 0, the server sent"),
        (_says(302), "sent no file, but status 302"),
        (_says(302, Location="http://127.0.0.1:1/a"), "Connection refused"),
        (_says(302, Location="http://[::1"), "Invalid IPv6 URL"),
        (_leads_on, "Exceeded 30 redirects"),
        (_without_end, "more than 1 MB"),
        (_says(200, gzip.compress(bytes(10**8)), Content_Encoding="gzip"), "more than 1 MB"),
        (_says(200, b"\xff" * 99, Content_Encoding="gzip"), "gzip"),
        (_says(200, b"zz\r\n", Transfer_Encoding="chunked"), "zz|chunk|length"),
        (_says(999), "sent no file, but status 999"),
        (_sends(b"\xff\xfe no HTTP \r\n\r\n"), "status line|aborted"),
        (_sends(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 500), "Connection aborted"),
        (_sends(b"HTTP/1.1 200 OK\r\na:" + b"b" * 10**6), "Connection aborted"),
    ],
)  # fmt: skip
def test_a_server_that_lies_is_told_in_a_sentence_and_leaves_no_file(
    answer: Answer,
    told: str,
    served: Callable[[Answer], Liar],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(downloading, "_PAUSE_S", 0.0)
    server, file = served(answer), tmp_path / "a.pth"
    url = f"http://127.0.0.1:{server.server_address[1]}/a"
    with pytest.raises(HitsrError, match=told) as caught:
        download(url, file, lambda _: None, most_bytes=10**6)
    assert not file.exists()
    assert part_of(file).stat().st_size <= 10**6
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()
    assert server.asked <= 31
