"""Download the weights that authors published, and check that they load into their network.

The authors published no checksums. So the first download records one in fetched.json, and later
runs check the file against it.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import TypeAdapter, ValidationError

from hitsr.base.errors import HitsrError, WeightsError, did_you_mean
from hitsr.base.files import content_of, sha256, write_bytes, write_text
from hitsr.base.reading import MOST_JSON
from hitsr.models.checkpoints import check_weights
from hitsr.plan.needs import read_sources
from hitsr.plan.subjects import find_weights
from hitsr.share.downloading import download
from hitsr.specs.network import Scale, ScaledNetwork
from hitsr.specs.zoo import find

_CHECKSUMS = "fetched.json"  # beside the weights: file name -> url, sha256
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


def fetch(
    release: Release, scale: Scale, folder: Path, say: Callable[[str], None]
) -> tuple[Path, bool]:
    """The file with a network's weights in `folder`, and whether it was downloaded just now.

    `say` is told when the server is asked again.

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
        fetched = _download(url, Path(temporary), target, say)
        check_weights(subject, fetched)
        write_bytes(target, fetched.read_bytes())
    _record_checksum(folder, target, url)
    return target, True


def _download(url: str, folder: Path, target: Path, say: Callable[[str], None]) -> Path:
    path = folder / target.name
    try:
        download(url, path, say, most_bytes=_MOST_BYTES)
    except (HitsrError, OSError) as error:
        raise WeightsError(
            f"{url}: cannot be fetched ({error}); download it elsewhere and save it as {target}"
        ) from None
    return path


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
        return _ADAPTER.validate_json(content_of(path, MOST_JSON))
    except ValidationError:
        raise WeightsError(f"{path}: damaged; delete it") from None


def _record_checksum(folder: Path, path: Path, url: str) -> None:
    recorded = _checksums(folder) | {path.name: {"url": url, "sha256": sha256(path)}}
    write_text(folder / _CHECKSUMS, json.dumps(recorded, indent=2, sort_keys=True) + "\n")
