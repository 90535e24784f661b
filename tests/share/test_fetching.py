"""Download weights from a local server; files that do not fit or have changed are refused."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from hitsr.base.errors import WeightsError
from hitsr.models.backbone import create
from hitsr.share import downloading, fetching
from hitsr.share.fetching import Release, fetch, read_releases, release_of

SOURCES = Path(__file__).parents[2] / "reports" / "published" / "sources.csv"


class Silent(SimpleHTTPRequestHandler):
    """Serves files, and some that never end: huge, endless, dripping, and a dripping head."""

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        kind = self.path.strip("/").partition("-")[0]
        if kind == "hit":
            return super().do_GET()
        if kind == "silent":  # the head drips
            return self._drip(b"X")
        self.send_response(200)
        if kind == "huge":
            self.send_header("Content-Length", str(10 * 2**30))
        self.end_headers()
        if kind == "slow":
            return self._drip(b"X")
        with suppress(OSError):
            while True:
                self.wfile.write(bytes(2**16))

    def _drip(self, byte: bytes) -> None:
        with suppress(OSError):
            while not self.server.is_over:
                self.wfile.write(byte)
                self.wfile.flush()
                time.sleep(0.01)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A folder as an author might publish: a checkpoint for x2 and, for x3, no checkpoint."""
    folder = tmp_path / "published"
    folder.mkdir()
    torch.manual_seed(0)
    torch.save({"params": create("hit_sir", 2).state_dict()}, folder / "hit-2.pth")
    (folder / "hit-3.pth").write_bytes(b"<html>not found</html>")
    return folder


@pytest.fixture
def address(published: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(published)))
    server.is_over = False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.is_over = True
        server.shutdown()
        server.server_close()


def release(address: str) -> Release:
    return Release("hit_sir", address + "/hit-{scale}.pth", False, "")


def test_weights_are_downloaded_once(address: str, published: Path, tmp_path: Path):
    path, is_new = fetch(release(address), 2, tmp_path / "weights", print)
    assert is_new
    assert path == tmp_path / "weights" / "hit_sir_x2.pth"
    assert path.read_bytes() == (published / "hit-2.pth").read_bytes()
    (published / "hit-2.pth").unlink()
    assert fetch(release(address), 2, tmp_path / "weights", print) == (path, False)


@pytest.mark.parametrize(("scale", "message"), [(3, "not a checkpoint"), (4, "cannot be fetched")])
def test_missing_or_unloadable_weights_leave_no_file(
    address: str, tmp_path: Path, scale: int, message: str
):
    with pytest.raises(WeightsError, match=message):
        fetch(release(address), scale, tmp_path / "weights", print)
    assert not (tmp_path / "weights").exists()


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("huge", "it has more than 200 MB"),
        ("endless", "it has more than 2 MB"),
        ("slow", r"\d+ bytes came in \d+ s"),
        ("silent", "0 bytes came in"),
    ],
)
def test_downloads_without_end_are_ended_and_leave_nothing(
    kind: str, told: str, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    if kind == "endless":
        monkeypatch.setattr(fetching, "_MOST_BYTES", 2_000_000)
    elif kind != "huge":
        monkeypatch.setattr(downloading, "_SLACK_S", 0.5)
    endless = Release("hit_sir", f"{address}/{kind}-{{scale}}.pth", False, "")
    with pytest.raises(WeightsError, match=told) as caught:
        fetch(endless, 2, tmp_path / "weights", print)
    assert "download it elsewhere and save it as" in str(caught.value)
    assert not (tmp_path / "weights").exists()
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_leaves_nothing_in_the_temporary_folder(
    stop: signal.Signals, address: str, tmp_path: Path
):
    sources, temporary = tmp_path / "published/sources.csv", tmp_path / "temporary"
    temporary.mkdir()
    sources.parent.mkdir(exist_ok=True)
    sources.write_text(
        f"kind,name,url,checksum,bytes,note\nweights,hit_sir,{address}/slow-{{scale}}.pth,,,\n"
    )
    words = [
        "fetch-weights",
        "hit_sir",
        "--scale",
        "2",
        "--reports",
        tmp_path,
        "--out",
        tmp_path / "w",
    ]
    command = [sys.executable, "-c", "from hitsr.cli import main; main()", *map(str, words)]
    environment = os.environ | {"TMPDIR": str(temporary)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as fetching:
        while not list(temporary.rglob("*.pth")) and not list(temporary.rglob("tmp*/*")):
            assert fetching.poll() is None
            time.sleep(0.05)
        fetching.send_signal(stop)
        assert fetching.wait() != 0
    assert not list(temporary.iterdir())
    assert not (tmp_path / "w").exists()


def test_weights_that_are_not_finite_are_refused(address: str, published: Path, tmp_path: Path):
    state = create("hit_sir", 2).state_dict()
    state["first.bias"] *= float("nan")
    torch.save(state, published / "hit-2.pth")
    with pytest.raises(WeightsError, match=r"first\.bias is not finite"):
        fetch(release(address), 2, tmp_path / "weights", print)
    assert not (tmp_path / "weights").exists()
    (tmp_path / "weights").mkdir()
    torch.save(state, tmp_path / "weights/hit_sir_x2.pth")
    with pytest.raises(WeightsError, match=r"first\.bias is not finite"):
        fetch(release(address), 2, tmp_path / "weights", print)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"hit_sir_x2.pth": {"sha256": 3}}'])
def test_a_damaged_list_of_checksums_is_told(content: str, address: str, tmp_path: Path):
    fetch(release(address), 2, tmp_path, print)
    (tmp_path / "fetched.json").write_text(content)
    with pytest.raises(WeightsError, match=r"fetched\.json: damaged; delete it"):
        fetch(release(address), 2, tmp_path, print)


def test_a_file_that_changed_since_is_refused(address: str, tmp_path: Path):
    path, _ = fetch(release(address), 2, tmp_path, print)
    torch.manual_seed(1)
    torch.save(create("hit_sir", 2).state_dict(), path)
    with pytest.raises(WeightsError, match="changed since it was fetched"):
        fetch(release(address), 2, tmp_path, print)


def test_weights_on_a_web_page_are_left_to_the_user(tmp_path: Path):
    page = release_of("srformer_light", read_releases(SOURCES))
    with pytest.raises(WeightsError, match=r"SRFormerLight_SRx4_DIV2K.*srformer_light_x4\.pth"):
        fetch(page, 4, tmp_path, print)


def test_every_network_has_a_source():
    from hitsr.specs.zoo import NETWORKS

    assert set(read_releases(SOURCES)) == set(NETWORKS)
