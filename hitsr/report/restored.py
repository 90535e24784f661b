"""Restored pictures: of each method on a set, those of its first seed."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pandas as pd

from hitsr.base.errors import DataError
from hitsr.plan.jobs import QualityJob
from hitsr.plan.layout import file_name
from hitsr.plan.subjects import CONTROLS
from hitsr.report.crops import Array, read
from hitsr.report.evidence import Evidence
from hitsr.report.facts import Fact
from hitsr.report.names import HR
from hitsr.specs.network import Scale


@dataclass(frozen=True)
class Restored:
    """The scored pictures of each method on one set at one scale."""

    key: str  # "Set5-x2": in ids and names of folders
    title: str  # "Set5 ×2"
    scale: Scale
    psnr_db: pd.DataFrame  # a row per picture, a column per method; infinite if identical to HR
    folders: dict[str, Path]  # method -> where its pictures are

    def scores_db(self, picture: str) -> dict[str, float]:
        """PSNR of one picture by method."""
        scores: dict[str, float] = self.psnr_db.T.to_dict()[picture]
        return scores

    def images(self, picture: str) -> dict[str, Array]:
        """One picture of every method that has it, as (h, w, 3) uint8 of one size.

        Empty without the HR control. DataError for a picture that cannot be read or does not fit.
        """
        every = {method: folder / f"{picture}.png" for method, folder in self.folders.items()}
        paths = {method: path for method, path in every.items() if path.is_file()}
        if HR not in paths:
            return {}
        with ThreadPoolExecutor() as pool:  # decoding leaves Python free
            images = dict(zip(paths, pool.map(read, paths.values())))
        height, width, _ = images[HR].shape
        for method, image in images.items():
            if image.shape != images[HR].shape:
                raise DataError(
                    f"{paths[method]}: {image.shape[1]} x {image.shape[0]}, but its HR is "
                    f"{width} x {height}; rerun restore"
                )
        return images


def restored_sets(evidence: Evidence) -> Iterator[Restored]:
    """The config's sets at its scales of which anything was scored, the first scale first."""
    jobs = [job for job, _, _ in evidence.results.done if isinstance(job, QualityJob)]
    folders = {(job.subject.name, job.dataset): job.inputs["sr"] for job in jobs}
    for scale, dataset in product(evidence.config.scales, evidence.config.data.test):
        first: dict[str, Fact] = {}
        for row in evidence.facts.find("psnr_db", scale=scale, dataset=dataset):
            if row.network in (*CONTROLS, *evidence.networks):
                first.setdefault(row.network, row)
        if first:
            yield Restored(
                key=f"{file_name(dataset)}-x{scale}",
                title=f"{evidence.set_name(dataset)} ×{scale}",
                scale=scale,
                psnr_db=pd.DataFrame(
                    {method: pd.Series(row.samples, row.items) for method, row in first.items()}
                ),
                folders={method: folders[row.subject, dataset] for method, row in first.items()},
            )
