"""How much room on disk the jobs of a plan will take, as far as sizes are known beforehand.

Weights and decoded pictures have known sizes. A PNG file is taken to be as large as its samples,
which few are, so pictures and maps need at most what is said.
"""

import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import NamedTuple, cast

from hitsr.base.errors import HitsrError
from hitsr.base.files import visible
from hitsr.base.reading import read_csv
from hitsr.plan.durations import Sizes
from hitsr.plan.jobs import Job, MapJob, PrepareJob, RestoreJob, TrainJob
from hitsr.plan.picture_sets import holds_pictures, made_lr_folder
from hitsr.plan.planning import Plan
from hitsr.plan.rates import unnamed
from hitsr.plan.reasons import Step
from hitsr.records.step_time import StepTimeRecord
from hitsr.records.training import TrainingRecord
from hitsr.specs.network import NetworkSpec, Scale
from hitsr.specs.run import RunSpec
from hitsr.specs.zoo import NETWORKS

Parameters = Mapping[tuple[NetworkSpec, Scale], int]  # by network, whose name plays no part
_FLOAT, _CHANNELS, _PANELS = 4, 3, 3  # bytes; of a picture; of the drawing of a map
_AT_WORK = 2  # checkpoints of a training


class Need(NamedTuple):
    """Room for files of one kind."""

    what: str
    folder: Path
    known: int  # bytes, of what is known
    unknown: int  # files or sets of files of unknown size
    is_most: bool  # they may be smaller


class Disk(NamedTuple):
    """What is free where some needs are."""

    folders: tuple[Path, ...]
    needed: int
    free: int

    @property
    def suffices(self) -> bool:
        return self.needed <= self.free


def needs_of(plan: Plan, steps: Sequence[Step], sizes: Sizes, parameters: Parameters) -> list[Need]:
    """The room that all jobs which are not done will take; kinds that need none are left out."""
    jobs = [step.job for step in steps if step.job and step.state != "done"]
    found = [*_of_trainings(plan, jobs, parameters), *_of_sets(jobs, sizes)]
    results = plan.layout.results
    restored = [job for job in jobs if isinstance(job, RestoreJob)]
    found.append(
        _need(
            "restored pictures", results / "pictures", [_samples(j, sizes) for j in restored], True
        )
    )
    maps = [_map_bytes(job, sizes) for job in jobs if isinstance(job, MapJob)]
    found.append(_need("attribution maps", results / "lam", maps, True))
    return [need for need in found if need.known or need.unknown]


def disks_of(needs: Iterable[Need]) -> list[Disk]:
    """The disks of all needs, and whether they suffice."""
    by_disk: dict[int, list[Need]] = {}
    for need in needs:
        by_disk.setdefault(os.stat(_existing(need.folder)).st_dev, []).append(need)
    return [
        Disk(
            tuple(dict.fromkeys(need.folder for need in own)),
            sum(need.known for need in own),
            shutil.disk_usage(_existing(own[0].folder)).free,
        )
        for own in by_disk.values()
    ]


def known_parameters(results: Path, reports: Path) -> dict[tuple[NetworkSpec, Scale], int]:
    """Numbers of parameters: of trained networks in results folders, else as published."""
    found: dict[tuple[NetworkSpec, Scale], int] = {}
    table = reports / "published" / "published.csv"
    for row in read_csv(table) if table.is_file() else ():
        name = re.sub(r"\W", "_", re.sub("-L$", "-Light", row["method"])).lower()
        if name in NETWORKS and row["params_k"]:
            scale = cast(Scale, int(row["scale"]))
            found[unnamed(NETWORKS[name]), scale] = round(float(row["params_k"]) * 1000)
    for path in visible(results.parent, "*/weights/*/record.json"):
        try:
            record = TrainingRecord.load(path)
        except HitsrError:
            continue
        found[key_of(record.run)] = record.params
    for path in visible(results.parent, "*/rates/*.json"):
        try:
            step = StepTimeRecord.load(path)
        except HitsrError:
            continue
        found[step.work.network, step.work.scale] = step.params
    return found


def key_of(run: RunSpec) -> tuple[NetworkSpec, Scale]:
    return unnamed(run.network), run.scale


def _of_trainings(plan: Plan, jobs: Sequence[Job], parameters: Parameters) -> list[Need]:
    """Weights; and checkpoints, of which a training that is done keeps one."""
    trainings = [job for job in jobs if isinstance(job, TrainJob)]
    weights: list[int | None] = []
    checkpoints: list[int | None] = []
    for job in trainings:
        count = parameters.get(key_of(job.run))
        weights.append(None if count is None else count * _FLOAT)
        # Weights, two moments of Adam and, where there is one, the average.
        copies = 4 if job.run.recipe.ema is not None else 3
        checkpoints.append(None if count is None else count * _FLOAT * copies)
    known = [each for each in checkpoints if each is not None]
    while_at_work = max(known, default=0) * (_AT_WORK - 1)
    folder = plan.layout.results / "weights"
    kept = _need("checkpoints", folder, checkpoints, False)
    return [
        _need("weights", folder, weights, False),
        kept._replace(known=kept.known + while_at_work),
    ]


def _of_sets(jobs: Sequence[Job], sizes: Sizes) -> list[Need]:
    """LR pictures and packs that are not there yet, and HR pictures that come from packages."""
    pictures: dict[Path, int | None] = {}
    packs: dict[Path, int | None] = {}
    root, packed = Path(), Path()
    for job in jobs:
        if not isinstance(job, PrepareJob):
            continue
        root, samples = job.folder.parent, _samples(job, sizes)
        small = None if samples is None else samples // job.scale**2
        folders = {made_lr_folder(job.folder, job.scale): small}
        if job.source.startswith("wheels:"):
            folders[job.folder / "HR"] = samples
        pictures |= folders
        if job.packs:
            packed, place = job.packs, job.packs / job.dataset
            packs |= {place / "HR": samples, place / f"x{job.scale}": small}
    absent = [each for folder, each in pictures.items() if not holds_pictures(folder)]
    undone = [each for folder, each in packs.items() if not folder.is_dir()]
    return [
        _need("prepared pictures", root, absent, True),
        _need("decoded pictures (packs)", packed, undone, False),
    ]


def _samples(job: PrepareJob | RestoreJob, sizes: Sizes) -> int | None:
    """Bytes of the decoded HR pictures of a job's set."""
    pictures = sizes.get(job.dataset)
    return None if pictures is None else _CHANNELS * sum(map(prod, pictures))


def _map_bytes(job: MapJob, sizes: Sizes) -> int | None:
    """Maps of a set, one per picture: float32 at the size of the LR cut-out, and a drawing."""
    pictures = sizes.get(job.dataset) if job.dataset else None
    if pictures is None:
        return None
    pixels = sum(prod(min(job.crop or side, side) for side in size) for size in pictures)
    return round(pixels * _CHANNELS * (_FLOAT / job.subject.scale**2 + _PANELS))


def _need(what: str, folder: Path, sizes: Sequence[int | None], is_most: bool) -> Need:
    known = [size for size in sizes if size is not None]
    return Need(what, folder, sum(known), len(sizes) - len(known), is_most)


def _existing(folder: Path) -> Path:
    return next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
