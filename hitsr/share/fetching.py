"""Fetch the weights that authors published, and keep only what loads into its network.

No checksum was published with them: the first fetch notes one, and later ones hold the file to it.
"""

import csv
import json
import tempfile
from pathlib import Path
from typing import NamedTuple

from hitsr.base.errors import WeightsError, did_you_mean
from hitsr.base.files import replacing, sha256, write_text
from hitsr.models.backbone import create
from hitsr.models.checkpoints import load_weights
from hitsr.plan.methods import find_weights

_NOTES = "fetched.json"  # beside the weights: file -> url, sha256
_TIMEOUT_S = 60


class Release(NamedTuple):
    """Where one network's weights are to be had; `{scale}` in both stands for the factor."""

    network: str
    url: str
    by_hand: bool  # the address is of a page that links to them
    note: str


def read_releases(sources: Path) -> dict[str, Release]:
    """The rows of sources.csv that are about weights, by network."""
    with sources.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] in ("weights", "weights_page")]
    return {
        row["name"]: Release(row["name"], row["url"], row["kind"] == "weights_page", row["note"])
        for row in rows
    }


def release_of(network: str, releases: dict[str, Release]) -> Release:
    if network not in releases:
        raise WeightsError(f"no weights of {network!r}; {did_you_mean(network, releases)}")
    return releases[network]


def fetch(release: Release, scale: int, folder: Path) -> tuple[Path, bool]:
    """The file of one network's weights in `folder`, and whether it had to be fetched.

    Raises WeightsError, with nothing written, where they cannot be fetched, are of another network,
    or differ from what was fetched before.
    """
    present = find_weights(folder, release.network, scale)
    if present:
        _check(present, release, scale, folder)
        return present, False
    url = release.url.format(scale=scale)
    target = folder / f"{release.network}_x{scale}{Path(url).suffix or '.pth'}"
    if release.by_hand:
        raise WeightsError(
            f"{release.network} x{scale}: see {url} ({release.note.format(scale=scale)}); "
            f"save it as {target}"
        )
    with tempfile.TemporaryDirectory() as temporary:
        fetched = _download(url, Path(temporary), target)
        _load(fetched, release, scale)
        with replacing(target) as whole:
            whole.write_bytes(fetched.read_bytes())
    _note(folder, target, url)
    return target, True


def _download(url: str, folder: Path, target: Path) -> Path:
    import pooch

    # pooch would log the checksum as advice; it is noted beside the weights instead.
    pooch.get_logger().setLevel("WARNING")
    downloader = pooch.HTTPDownloader(progressbar=True, timeout=_TIMEOUT_S)
    try:
        name = pooch.retrieve(
            url, known_hash=None, fname=target.name, path=folder, downloader=downloader
        )
    except Exception as error:  # requests and urllib3 raise a family of their own
        raise WeightsError(
            f"{url}: cannot be fetched ({error}); fetch it elsewhere and save it as {target}"
        ) from None
    return Path(name)


def _load(path: Path, release: Release, scale: int) -> None:
    """Loading proves the file whole, of this network and of this scale."""
    load_weights(create(release.network, scale), path)


def _check(path: Path, release: Release, scale: int, folder: Path) -> None:
    known = _notes(folder).get(path.name)
    if known is not None and known["sha256"] != sha256(path):
        raise WeightsError(f"{path}: changed since it was fetched; delete it and fetch again")
    _load(path, release, scale)


def _notes(folder: Path) -> dict[str, dict[str, str]]:
    path = folder / _NOTES
    if not path.is_file():
        return {}
    try:
        noted: dict[str, dict[str, str]] = json.loads(path.read_text())
    except ValueError as error:
        raise WeightsError(f"{path}: damaged ({error}); delete it") from None
    return noted


def _note(folder: Path, path: Path, url: str) -> None:
    noted = _notes(folder) | {path.name: {"url": url, "sha256": sha256(path)}}
    write_text(folder / _NOTES, json.dumps(noted, indent=2, sort_keys=True) + "\n")
