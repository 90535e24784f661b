"""Which restored pictures there are: of each method on a set, those of its first seed."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

from hitsr.base.errors import DataError
from hitsr.plan.methods import methods
from hitsr.records import QualityRecord
from hitsr.report.crops import Array, read
from hitsr.report.measures import Evidence, psnr_db
from hitsr.report.names import HR
from hitsr.specs.network import Scale


@dataclass(frozen=True)
class Restored:
    """The scored pictures of each method on one set at one scale."""

    evidence: Evidence
    dataset: str
    scale: Scale
    runs: dict[str, tuple[str, QualityRecord]]  # method -> its run, its scores

    @property
    def key(self) -> str:
        """Of ids and folders."""
        return f"{self.dataset}-x{self.scale}"

    @property
    def title(self) -> str:
        return f"{self.evidence.set_name(self.dataset)} ×{self.scale}"

    def psnr_db(self, method: str) -> dict[str, float]:
        """By picture; infinite where it is identical to HR."""
        if method not in self.runs:
            return {}
        return {picture.name: psnr_db(picture) for picture in self.runs[method][1].pictures}

    def file(self, method: str, picture: str) -> Path | None:
        """None if the method was not run on the set, or its pictures are gone."""
        if method not in self.runs:
            return None
        folder = f"{self.runs[method][0]}.{self.dataset}"
        path = self.evidence.results.folder / "pictures" / folder / f"{picture}.png"
        return path if path.is_file() else None

    def images(self, picture: str) -> dict[str, Array]:
        """One picture of every method that has it, HR first, as (h, w, 3) uint8 of one size.

        None at all without the HR control. DataError for a picture that cannot be read or does not
        fit.
        """
        reference = self.file(HR, picture)
        if reference is None:
            return {}
        hr = read(reference)
        files = {method: self.file(method, picture) for method in self.runs if method != HR}
        paths = {method: path for method, path in files.items() if path}
        with ThreadPoolExecutor() as pool:  # decoding leaves Python free
            images = pool.map(partial(_fitting, shape=hr.shape), paths.values())
            return {HR: hr, **dict(zip(paths, images))}


def restored_sets(evidence: Evidence) -> Iterator[Restored]:
    """The config's sets at its scales of which anything was scored, the first scale first."""
    for scale, dataset in product(evidence.config.scales, evidence.config.data.test):
        runs = _runs(evidence, scale, dataset)
        if runs:
            yield Restored(evidence, dataset, scale, runs)


def _runs(evidence: Evidence, scale: Scale, dataset: str) -> dict[str, tuple[str, QualityRecord]]:
    found: dict[str, tuple[str, QualityRecord]] = {}
    for method in methods(evidence.config).values():
        record = evidence.results.quality.get((method.name, dataset))
        if method.scale == scale and record:
            found.setdefault(method.network, (method.name, record))
    return found


def _fitting(path: Path, shape: tuple[int, ...]) -> Array:
    image = read(path)
    if image.shape != shape:
        raise DataError(
            f"{path}: {image.shape[1]} x {image.shape[0]}, but its HR is {shape[1]} x {shape[0]}; "
            "rerun restore"
        )
    return image
