"""A job is one thing to make or measure: a value, saved as a small JSON file.

The pipeline's rules pass the file to the verb of the job's kind: `hitsr latency --job FILE`. A job
file is rewritten only if the job has changed.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StrictBool

from hitsr.base.errors import SpecError, shortened
from hitsr.base.files import write_text
from hitsr.base.reading import read_json
from hitsr.base.values import Count, CountOrNone, Steps, Value
from hitsr.plan.layout import Kind
from hitsr.plan.subjects import (
    BuiltNetwork,
    Filled,
    Measured,
    Network,
    OtherMethod,
    Scored,
    Upscaler,
)
from hitsr.specs.config import Device, Gpus, Graph, OnMiss, Over, Side
from hitsr.specs.network import Formulation, Scale
from hitsr.specs.recipe import Gate, check_sharing
from hitsr.specs.run import RunSpec
from hitsr.specs.steps import Launch, Precision

UsedDevice = Annotated[str, Field(pattern=r"^(cpu|mps|cuda(:\d+)?)$")]


def device_kind(device: UsedDevice) -> str:
    """`cuda` for each GPU of a machine: cuda, cuda:1."""
    return device.partition(":")[0]


class BaseJob(Value):
    """Fields of every job."""

    # Fields that do not change what a job measures: file names, folders, devices.
    CIRCUMSTANCES: ClassVar[frozenset[str]] = frozenset({"name", "inputs", "output"})

    name: str  # of the job's files
    inputs: dict[str, Path] = Field(default={})  # role -> file that another job or the user makes
    output: Path | None = None  # the record, written last; None: only print it
    # Who requests the job: "config", "latency" (`make latency`), names of ablations.
    asked_by: tuple[str, ...] = Field(default=(), exclude=True)

    @property
    def hash(self) -> str:
        """Hash of every field but CIRCUMSTANCES; the job's record repeats it."""
        data = self.model_dump(mode="json", exclude=set(self.CIRCUMSTANCES))
        text = json.dumps(data, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def is_saved(self, path: Path) -> bool:
        """Whether the file holds this job."""
        return path.is_file() and path.read_bytes() == self.to_json().encode()

    def save(self, path: Path) -> None:
        """Write the job file; an equal file is left alone, which keeps its time stamp.

        The stamp also stays where the results folder got another name: what was made of the job
        would be older than its file, and be made again.
        """
        if self.is_saved(path):
            return
        before = path.stat() if self._was_moved(path) else None
        write_text(path, self.to_json())
        if before:
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def _was_moved(self, path: Path) -> bool:
        """Whether the file holds this job, of a results folder of another name."""
        results = path.parents[2] if path.parent.parent.name == "jobs" else None
        if not (results and self.output and self.output.is_relative_to(results)):
            return False
        try:
            old = read_job(path)
        except SpecError:
            return False
        end = self.output.relative_to(results).parts
        if old.output is None or old.output.parts[-len(end) :] != end:
            return False
        before = Path(*old.output.parts[: -len(end)])
        return old.moved(before, results).to_json() == self.to_json()

    def moved(self, before: Path, now: Path) -> Self:
        """The job, with paths in the folder `before` as paths in the folder `now`."""

        def new(path: Path) -> Path:
            return now / path.relative_to(before) if path.is_relative_to(before) else path

        own = {
            name: new(path) for name in ("output", "seen") if (path := getattr(self, name, None))
        }
        return self.model_copy(
            update={
                "inputs": {role: new(path) for role, path in self.inputs.items()},
                **{name: new(path) for name, path in own.items() if path},
            }
        )


class PrepareJob(BaseJob):
    """Lay out the pictures of a set as LR/HR pairs at one scale."""

    CIRCUMSTANCES = BaseJob.CIRCUMSTANCES | {
        *("source", "folder", "packs", "patch", "seen", "content")
    }

    kind: Literal["prepare"] = "prepare"
    dataset: str
    scale: Scale
    source: str  # a folder of HR pictures, or `wheels:train`, `wheels:test`
    folder: Path  # of the set
    packs: Path | None = None  # folder of decoded pictures, for sets that training reads
    patch: Count | None = None  # least side of LR pictures, for the training set
    seen: Path | None = None  # where the preparation keeps what it saw (`plan.watching`)
    content: str | None = None  # changes when the pictures do, so that they are prepared again


class TrainJob(BaseJob):
    """Train one run."""

    CIRCUMSTANCES = BaseJob.CIRCUMSTANCES | {
        *("data", "packs", "device", "graph", "gpus", "recompute", "checkpoint_every"),
        *("most_skipped", "gates", "on_miss", "tensorboard"),
    }

    kind: Literal["train"] = "train"
    run: RunSpec
    data: Path  # folder that holds the run's sets
    packs: Path
    device: Device
    compile: StrictBool = False
    graph: Graph = "auto"
    gpus: Gpus = 1
    recompute: StrictBool = False
    checkpoint_every: Steps = 500
    most_skipped: Count = 10
    gates: tuple[Gate, ...] = ()
    on_miss: OnMiss = "warn"
    tensorboard: StrictBool = False

    def processes(self, kind: str, gpus_there: float) -> int:
        """How many processes share each batch on a device of this kind, where there are these GPUs.

        Raises SpecError if there are fewer than the job asks for, if its device is one of them, or
        if the parts of a batch do not come out.
        """
        parts, several = self.run.recipe.parts, kind == "cuda" and ":" not in self.device
        if self.gpus == "auto":
            most = gpus_there if several else 1
            counts = range(1, parts + 1)
            return max(n for n in counts if parts % n == 0 and n <= max(1, most))
        if self.gpus == 1:
            return 1
        if kind != "cpu" and not several:
            raise SpecError(
                f"{self.name}: gpus: {self.gpus}, but device {self.device} is one GPU; write gpus: "
                "1, or device: cuda"
            )
        check_sharing(parts, self.gpus, f"{self.name}: ")
        if several and self.gpus > gpus_there:
            raise SpecError(
                f"{self.name}: gpus: {self.gpus}, but torch finds {gpus_there}; write gpus: auto "
                "for those that there are"
            )
        return self.gpus


class RestoreJob(BaseJob):
    """Upscale the LR pictures of a set into files."""

    CIRCUMSTANCES = BaseJob.CIRCUMSTANCES | {"data", "device"}

    kind: Literal["restore"] = "restore"
    subject: Upscaler
    dataset: str
    data: Path  # folder of the set
    device: Device


class QualityJob(BaseJob):
    """Score finished pictures, `inputs["sr"]`, against HR."""

    CIRCUMSTANCES = BaseJob.CIRCUMSTANCES | {"data"}

    kind: Literal["quality"] = "quality"
    subject: Scored
    dataset: str
    data: Path  # folder of the set, whose HR pictures `inputs["hr"]` replaces
    metrics: tuple[str, ...] = ()  # besides PSNR and SSIM, by pyiqa's names
    degradation: str | None = None  # how LR pictures were made; None: as `hitsr prepare` found

    @property
    def prepared_hash(self) -> str:
        """Hash of the job that prepares the set, in the pipeline."""
        scale, folder = self.subject.scale, self.data
        return PrepareJob(
            name=self.name, dataset=self.dataset, scale=scale, source="", folder=folder
        ).hash

    @property
    def restored_hash(self) -> str:
        """Hash of the job that makes the pictures, in the pipeline."""
        assert not isinstance(self.subject, OtherMethod), self.name
        return RestoreJob(
            name=self.name,
            subject=self.subject,
            dataset=self.dataset,
            data=self.data,
            device="auto",
        ).hash


class MapJob(BaseJob):
    """Make local attribution maps of a set's busiest windows, or of the listed windows."""

    CIRCUMSTANCES = BaseJob.CIRCUMSTANCES | {"data", "device"}

    kind: Literal["lam"] = "lam"
    subject: Filled
    dataset: str | None  # None if `windows` are listed
    data: Path | None  # folder of the set
    # Name of an LR picture, whose file is `inputs["lr/NAME"]`, and x, y, side in HR pixels.
    windows: tuple[tuple[str, CountOrNone, CountOrNone, Count], ...] = ()
    side: Count = 16  # of a set's windows, HR pixels
    crop: CountOrNone  # side of the cut-out around a window, HR pixels; 0: whole picture
    steps: Count = 50  # of the integration path
    refine: StrictBool = False  # also integrate along a path refined to an error below 1 %
    device: Device


class CountJob(BaseJob):
    """Count parameters, FLOPs and activations."""

    kind: Literal["complexity"] = "complexity"
    subject: Network
    output_size: tuple[Side, Side]  # width, height
    formulation: Formulation | None = "paper"  # None for a user's own network


class TimeJob(BaseJob):
    """Time forwards of one network in one formulation, and measure their peak memory."""

    kind: Literal["latency"] = "latency"
    subject: Network
    output_size: tuple[Side, Side]  # width, height
    device: UsedDevice
    formulation: Formulation | None  # None for a user's own network
    batch: Count = 1
    precision: Precision = "float32"
    launch: Launch = "eager"
    channels_last: StrictBool = False
    warmup: CountOrNone  # most forwards; 0: none
    # Most seconds of its forwards, where these are more; None: 10 on a GPU, else 0.
    warmup_seconds: Annotated[float, Field(ge=0, le=3600)] | None = None
    samples: Count


class GrowthJob(BaseJob):
    """Count how costs grow with windows or pictures."""

    kind: Literal["scaling"] = "scaling"
    subject: BuiltNetwork
    over: Over
    sides: tuple[Count, ...] = ()  # LR pixels; default: those of `measure.scaling`
    formulation: Formulation = "paper"


class TimeGrowthJob(BaseJob):
    """Time how a network's time grows with windows and pictures."""

    kind: Literal["scaling_time"] = "scaling_time"
    subject: BuiltNetwork
    over: tuple[Over, ...]
    formulation: Formulation = "fused"
    device: UsedDevice
    warmup: CountOrNone
    samples: Count


class NtireJob(BaseJob):
    """Measure a network as the NTIRE challenge does; by hand only, no part of a pipeline."""

    CIRCUMSTANCES = BaseJob.CIRCUMSTANCES | {"lr", "hr"}

    kind: Literal["ntire"] = "ntire"
    subject: Measured
    lr: Path  # folders of pictures
    hr: Path | None = None
    formulation: Formulation | None  # None for a user's own network
    device: Device
    runs: Count


Job = (
    PrepareJob
    | TrainJob
    | RestoreJob
    | QualityJob
    | MapJob
    | CountJob
    | TimeJob
    | GrowthJob
    | TimeGrowthJob
)
KINDS: dict[str, type[Job]] = {kind.model_fields["kind"].default: kind for kind in Job.__args__}


def read_job(path: Path, kind: Kind | None = None) -> Job:
    """Read a job file; SpecError if it is missing, damaged or of another kind."""
    where = f"{path}: not a job file of this version, rerun `snakemake`"
    try:
        data = read_json(path)
    except SpecError as error:
        raise SpecError(str(error).replace(str(path), where, 1)) from None
    found = data.get("kind") if isinstance(data, dict) else None
    if not isinstance(found, str) or found not in KINDS:
        raise SpecError(
            f"{where}: kind: must be one of {', '.join(KINDS)} (got {shortened(found)})"
        )
    job = KINDS[found].parse(data, where)
    if kind is not None and job.kind != kind:
        raise SpecError(f"{path}: is a job for `hitsr {job.kind}`, not for `hitsr {kind}`")
    return job
