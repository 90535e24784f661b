"""Download weights from a local server; files that do not fit or have changed are refused."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from hitsr.base.errors import WeightsError
from hitsr.models.backbone import create
from hitsr.share.fetching import Release, fetch, read_releases, release_of

SOURCES = Path(__file__).parents[2] / "reports" / "published" / "sources.csv"


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


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
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def release(address: str) -> Release:
    return Release("hit_sir", address + "/hit-{scale}.pth", False, "")


def test_weights_are_downloaded_once(address: str, published: Path, tmp_path: Path):
    path, is_new = fetch(release(address), 2, tmp_path / "weights")
    assert is_new
    assert path == tmp_path / "weights" / "hit_sir_x2.pth"
    assert path.read_bytes() == (published / "hit-2.pth").read_bytes()
    (published / "hit-2.pth").unlink()
    assert fetch(release(address), 2, tmp_path / "weights") == (path, False)


@pytest.mark.parametrize(("scale", "message"), [(3, "not a checkpoint"), (4, "cannot be fetched")])
def test_missing_or_unloadable_weights_leave_no_file(
    address: str, tmp_path: Path, scale: int, message: str
):
    with pytest.raises(WeightsError, match=message):
        fetch(release(address), scale, tmp_path / "weights")
    assert not (tmp_path / "weights").exists()


def test_a_file_that_changed_since_is_refused(address: str, tmp_path: Path):
    path, _ = fetch(release(address), 2, tmp_path)
    torch.manual_seed(1)
    torch.save(create("hit_sir", 2).state_dict(), path)
    with pytest.raises(WeightsError, match="changed since it was fetched"):
        fetch(release(address), 2, tmp_path)


def test_weights_on_a_web_page_are_left_to_the_user(tmp_path: Path):
    page = release_of("srformer_light", read_releases(SOURCES))
    with pytest.raises(WeightsError, match=r"SRFormerLight_SRx4_DIV2K.*srformer_light_x4\.pth"):
        fetch(page, 4, tmp_path)


def test_every_network_has_a_source():
    from hitsr.specs.zoo import NETWORKS

    assert set(read_releases(SOURCES)) == set(NETWORKS)
