"""Download the weights that authors published, and check that they load into their network.

The authors published no checksums. So the first download records one in fetched.json, and later
runs check the file against it.
"""

import json
import tempfile
import threading
import time
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import TypeAdapter, ValidationError
from tqdm import tqdm

from hitsr.base.errors import HitsrError, WeightsError, did_you_mean
from hitsr.base.files import sha256, write_bytes, write_text
from hitsr.models.checkpoints import check_weights
from hitsr.plan.needs import read_sources
from hitsr.plan.subjects import find_weights
from hitsr.specs.network import Scale, ScaledNetwork
from hitsr.specs.zoo import find

_CHECKSUMS = "fetched.json"  # beside the weights: file name -> url, sha256
_TIMEOUT_S = 60  # without an answer
_SLOWEST = 10_000  # bytes in a second, on average after the first minute
_MOST_BYTES = 200_000_000  # the networks here have 3 to 70 MB

_ADAPTER = TypeAdapter(dict[str, dict[Literal["url", "sha256"], str]])


class Release(NamedTuple):
    """Where to find one network's weights; `{scale}` in `url` and `note` stands for the scale."""

    network: str
    url: str
    manual: bool  # the URL is a web page with links, to be followed by hand
    note: str


def read_releases(sources: Path) -> dict[str, Release]:
    """The rows about weights in sources.csv: network -> release."""
    rows = [row for row in read_sources(sources) if row["kind"] in ("weights", "weights_page")]
    return {
        row["name"]: Release(row["name"], row["url"], row["kind"] == "weights_page", row["note"])
        for row in rows
    }


def release_of(network: str, releases: dict[str, Release]) -> Release:
    """A network's release; WeightsError, with the nearest name, if there is none."""
    if network not in releases:
        raise WeightsError(f"no weights for {network!r}; {did_you_mean(network, releases)}")
    return releases[network]


def fetch(release: Release, scale: Scale, folder: Path) -> tuple[Path, bool]:
    """The file with a network's weights in `folder`, and whether it was downloaded just now.

    Raises WeightsError, and writes nothing, if the weights cannot be downloaded, do not fit the
    network and scale, or differ from the file downloaded before.
    """
    subject = ScaledNetwork(network=find(release.network), scale=scale)
    present = find_weights(folder, release.network, scale)
    if present:
        _check_present(present, subject, folder)
        return present, False
    url = release.url.format(scale=scale)
    target = folder / f"{release.network}_x{scale}{Path(url).suffix or '.pth'}"
    if release.manual:
        raise WeightsError(
            f"{release.network} x{scale}: download it from {url} "
            f"({release.note.format(scale=scale)}) and save it as {target}"
        )
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        fetched = _download(url, Path(temporary), target)
        check_weights(subject, fetched)
        write_bytes(target, fetched.read_bytes())
    _record_checksum(folder, target, url)
    return target, True


def _download(url: str, folder: Path, target: Path) -> Path:
    import pooch

    # pooch would log the checksum and advise to write it down; `_record_checksum` does that.
    pooch.get_logger().setLevel("WARNING")
    limits, outcome = _Limits(), list[Path | str]()
    downloader = pooch.HTTPDownloader(progressbar=limits, timeout=_TIMEOUT_S)

    def download() -> None:
        try:
            path = pooch.retrieve(url, None, target.name, folder, downloader=downloader)
            outcome.append(Path(path))
        except Exception as error:  # requests and urllib3 have no common base class
            outcome.append(str(error) or type(error).__name__)

    # In a thread, since a server that sends byte after byte holds up each read for long.
    worker = threading.Thread(target=download, daemon=True)
    worker.start()
    try:
        while worker.is_alive():
            worker.join(0.1)
            limits.check()
        (found,) = outcome
        if isinstance(found, str):
            raise HitsrError(found)
    except HitsrError as error:
        raise WeightsError(
            f"{url}: cannot be fetched ({error}); download it elsewhere and save it as {target}"
        ) from None
    finally:
        limits.is_over = True
    return found


class _Limits:
    """A progress bar for pooch, which ends a download that is too large or too slow."""

    def __init__(self) -> None:
        self.total = 0  # bytes that the server announces; set by pooch
        self.is_over = False
        self._received = 0
        self._started = time.monotonic()
        self._bar = tqdm(unit="B", unit_scale=True, leave=False)

    def update(self, count: int) -> None:
        """Count received bytes, in pooch's chunks."""
        self._received += count
        self._bar.total = self.total or None
        self._bar.update(count)
        self.check()

    def reset(self) -> None:
        """Called at the end, before the total is counted once more."""
        self.is_over = True

    def close(self) -> None:
        self._bar.close()

    def check(self) -> None:
        """Raise HitsrError if the download is too large or too slow."""
        if self.is_over:
            return
        size, seconds = max(self.total, self._received), time.monotonic() - self._started
        if size > _MOST_BYTES:
            raise HitsrError(f"it has more than {_MOST_BYTES // 10**6} MB")
        if seconds > _TIMEOUT_S + self._received / _SLOWEST:
            raise HitsrError(f"{self._received} bytes came in {seconds:.0f} s")


def _check_present(path: Path, subject: ScaledNetwork, folder: Path) -> None:
    """Check a file downloaded before (or saved by hand: it then has no recorded checksum)."""
    recorded = _checksums(folder).get(path.name)
    if recorded is not None and recorded["sha256"] != sha256(path):
        raise WeightsError(f"{path}: changed since it was fetched; delete it and fetch again")
    check_weights(subject, path)


def _checksums(folder: Path) -> dict[str, dict[Literal["url", "sha256"], str]]:
    path = folder / _CHECKSUMS
    if not path.is_file():
        return {}
    try:
        return _ADAPTER.validate_json(path.read_bytes())
    except ValidationError:
        raise WeightsError(f"{path}: damaged; delete it") from None


def _record_checksum(folder: Path, path: Path, url: str) -> None:
    recorded = _checksums(folder) | {path.name: {"url": url, "sha256": sha256(path)}}
    write_text(folder / _CHECKSUMS, json.dumps(recorded, indent=2, sort_keys=True) + "\n")
