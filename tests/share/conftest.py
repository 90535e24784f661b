"""A web server on the loopback, which can cut connections, stall and lead elsewhere."""

import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Server(ThreadingHTTPServer):
    """Serves bytes by path; keeps the path and the asked range of each request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.address = f"http://127.0.0.1:{self.server_address[1]}"
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.knows_ranges = True
        self.cuts: list[int] = []  # bytes of the body that each next answer ends after
        self.stalls: list[int] = []  # bytes that each next answer waits after, without an end
        self.statuses: list[int] = []  # of the next answers, which have no body
        self.leads_to: dict[str, str] = {}  # path -> location
        self.kind = "application/octet-stream"
        self.range_shift = 0  # of what is sent, from what was asked for
        self.is_over = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        server, path = self.server, self.path.strip("/")
        server.asked.append((path, self.headers.get("Range")))
        if server.statuses or (path not in server.files and path not in server.leads_to):
            return self._head(server.statuses.pop(0) if server.statuses else 404)
        if path in server.leads_to:
            return self._head(302, Location=server.leads_to[path])
        body, status, more = server.files[path], 200, {}
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and server.knows_ranges:
            first = int(asked[1]) + server.range_shift
            if first >= len(body):
                return self._head(416, **{"Content-Range": f"bytes */{len(body)}"})
            more["Content-Range"] = f"bytes {first}-{len(body) - 1}/{len(body)}"
            body, status = body[first:], 206
        more |= {"Content-Length": str(len(body)), "Content-Type": server.kind}
        self._head(status, **more)
        if server.cuts:
            body = body[: server.cuts.pop(0)]
        with suppress(OSError):
            if server.stalls:
                self.wfile.write(body[: server.stalls.pop(0)])
                self.wfile.flush()
                server.is_over.wait()
            else:
                self.wfile.write(body)

    def _head(self, status: int, **fields: str) -> None:
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server
    finally:
        server.is_over.set()
        server.shutdown()
        server.server_close()
