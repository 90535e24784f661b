"""Download the weights that authors published, and check that they load into their network.

The authors published no checksums. So the first download records one in fetched.json, and later
runs check the file against it.
"""

import json
import tempfile
from pathlib import Path
from typing import NamedTuple

from hitsr.base.errors import WeightsError, did_you_mean
from hitsr.base.files import sha256, write_bytes, write_text
from hitsr.models.backbone import create
from hitsr.models.checkpoints import load_weights
from hitsr.plan.needs import read_sources
from hitsr.plan.subjects import find_weights

_CHECKSUMS = "fetched.json"  # beside the weights: file name -> url, sha256
_TIMEOUT_S = 60


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


def fetch(release: Release, scale: int, folder: Path) -> tuple[Path, bool]:
    """The file with a network's weights in `folder`, and whether it was downloaded just now.

    Raises WeightsError, and writes nothing, if the weights cannot be downloaded, do not fit the
    network and scale, or differ from the file downloaded before.
    """
    present = find_weights(folder, release.network, scale)
    if present:
        _check_present(present, release, scale, folder)
        return present, False
    url = release.url.format(scale=scale)
    target = folder / f"{release.network}_x{scale}{Path(url).suffix or '.pth'}"
    if release.manual:
        raise WeightsError(
            f"{release.network} x{scale}: download it from {url} "
            f"({release.note.format(scale=scale)}) and save it as {target}"
        )
    with tempfile.TemporaryDirectory() as temporary:
        fetched = _download(url, Path(temporary), target)
        _check_loads(fetched, release, scale)
        write_bytes(target, fetched.read_bytes())
    _record_checksum(folder, target, url)
    return target, True


def _download(url: str, folder: Path, target: Path) -> Path:
    import pooch

    # pooch would log the checksum and advise to write it down; `_record_checksum` does that.
    pooch.get_logger().setLevel("WARNING")
    downloader = pooch.HTTPDownloader(progressbar=True, timeout=_TIMEOUT_S)
    try:
        name = pooch.retrieve(
            url, known_hash=None, fname=target.name, path=folder, downloader=downloader
        )
    except Exception as error:  # requests and urllib3 have no common base class
        raise WeightsError(
            f"{url}: cannot be fetched ({error}); download it elsewhere and save it as {target}"
        ) from None
    return Path(name)


def _check_loads(path: Path, release: Release, scale: int) -> None:
    """Load the weights: this shows that the file is complete and fits the network and scale."""
    load_weights(create(release.network, scale), path)


def _check_present(path: Path, release: Release, scale: int, folder: Path) -> None:
    """Check a file downloaded before (or saved by hand: it then has no recorded checksum)."""
    recorded = _checksums(folder).get(path.name)
    if recorded is not None and recorded["sha256"] != sha256(path):
        raise WeightsError(f"{path}: changed since it was fetched; delete it and fetch again")
    _check_loads(path, release, scale)


def _checksums(folder: Path) -> dict[str, dict[str, str]]:
    path = folder / _CHECKSUMS
    if not path.is_file():
        return {}
    try:
        recorded: dict[str, dict[str, str]] = json.loads(path.read_bytes())
    except ValueError as error:
        raise WeightsError(f"{path}: damaged ({error}); delete it") from None
    return recorded


def _record_checksum(folder: Path, path: Path, url: str) -> None:
    recorded = _checksums(folder) | {path.name: {"url": url, "sha256": sha256(path)}}
    write_text(folder / _CHECKSUMS, json.dumps(recorded, indent=2, sort_keys=True) + "\n")
