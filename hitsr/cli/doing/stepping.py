"""Time some steps of trainings before they are started, on patches of noise."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import torch

from hitsr.base.errors import HitsrError
from hitsr.base.progress import Progress
from hitsr.base.seeds import derive
from hitsr.cli.options import say
from hitsr.data.patches import Patches
from hitsr.models.backbone import create
from hitsr.plan.jobs import TrainJob
from hitsr.plan.layout import file_name
from hitsr.plan.rates import work_of_job
from hitsr.records.provenance import provenance
from hitsr.records.step_time import StepTimeRecord
from hitsr.runtime.devices import pick_device
from hitsr.runtime.free_memory import free_bytes, is_out_of_memory
from hitsr.runtime.graphs import WARM_UPS
from hitsr.runtime.memory import watching
from hitsr.specs.run import RunSpec
from hitsr.training.compiled import compile_training
from hitsr.training.feeding import fed
from hitsr.training.kernels import autocast_of, kernels
from hitsr.training.recomputed import recompute_activations
from hitsr.training.step import TrainingStep

# A step takes no longer, else its batch is made smaller; samples are taken for about this long.
_LONGEST_S, _ENOUGH_S = 20.0, 5.0
_LEAST, _MOST = 3, 50  # samples
_STEPS = 100  # more than are taken
_SHARE = 0.6  # of the free memory, which a step may take by the look of a small one


def measure_steps(jobs: Sequence[TrainJob], folder: Path, threads: int) -> None:
    """Time steps of each distinct work among some trainings, and keep a record of each in a folder.

    A batch that would take too long or too much memory is measured smaller, and the record says so.
    """
    torch.set_num_threads(threads)
    distinct = {work_of_job(job).hash: job for job in jobs}
    with Progress("measure steps", len(distinct), "kind") as progress:
        for job in distinct.values():
            record = _measured(job)
            made, taken = record.provenance, record.work.batch
            record.save(folder / f"{file_name(_name_of(record))}.json")
            smaller = f" of batch {taken}" if taken < job.run.recipe.batch else ""
            seconds = f"{median(record.samples_s):.3g} s a step{smaller}"
            say(f"{job.run.name}: {seconds}, on {made.device_name}")
            progress.advance()


def _name_of(record: StepTimeRecord) -> str:
    """A name for the only record of some work on a device with a number of threads."""
    made = record.provenance
    return f"{record.work.hash}.{made.device_name}.{made.threads}"


def _measured(job: TrainJob) -> StepTimeRecord:
    started, device = time.monotonic(), pick_device(job.device)
    parts, size = job.run.recipe.parts, _size_that_fits(job, device)
    while True:
        try:
            params, times, device_times = _timed(job, size * parts, device)
            break
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if size == 1:
                raise HitsrError(
                    f"{job.run.name}: a step of {parts} patches does not fit into the memory of "
                    f"{device}"
                ) from error
        size //= 2
    work = work_of_job(job).model_copy(update={"batch": size * parts})
    return StepTimeRecord(
        subject=job.run.name,
        job_hash=work.hash,
        provenance=provenance(str(device), time.monotonic() - started),
        work=work,
        params=params,
        samples_s=tuple(times),
        device_samples_s=tuple(device_times),
    )


def _size_that_fits(job: TrainJob, device: torch.device) -> int:
    """How many patches of each part of a batch can be measured, by the look of one of each."""
    recipe = job.run.recipe
    whole, free = recipe.batch // recipe.parts, free_bytes(device)
    if whole == 1:
        return 1
    with _stepping(job, recipe.parts, device) as (_, step):
        step()
        with watching(device) as memory:
            started = time.monotonic()
            step()
            seconds = time.monotonic() - started
            by_memory = _SHARE * free / max(memory.peak_bytes, 1)
    return max(1, min(whole, int(by_memory), int(_LONGEST_S / seconds)))


def _timed(job: TrainJob, batch: int, device: torch.device) -> tuple[int, list[float], list[float]]:
    """Parameters of the network, seconds of steps by the clock, and device time of these."""
    clock = time.process_time if device.type == "cpu" else time.monotonic
    times: list[float] = []
    device_times: list[float] = []
    with _stepping(job, batch, device) as (params, step):
        for _ in range(1 if device.type == "cpu" else WARM_UPS + 1):
            step()
        while len(times) < _LEAST or (sum(times) < _ENOUGH_S and len(times) < _MOST):
            started, device_started = time.monotonic(), clock()
            step()
            times.append(time.monotonic() - started)
            device_times.append(clock() - device_started)
    return params, times, device_times


@contextmanager
def _stepping(
    job: TrainJob, batch: int, device: torch.device
) -> Iterator[tuple[int, Callable[[], None]]]:
    """The number of parameters, and a function that takes the next step and waits for it."""
    run, is_gpu = job.run, device.type == "cuda"
    # Steps like those that most of a training consists of.
    usual = {"steps": _STEPS, "warm_up": 0, "upsampler_only": 0, "milestones": ()}
    recipe = run.recipe.model_copy(update={"batch": batch, **usual})
    torch.manual_seed(derive(run.seed, "weights"))
    model = create(run.network, run.scale, autocast=autocast_of(recipe))
    if job.recompute:
        recompute_activations(model)
    if job.compile:
        compile_training(model)
    model.to(device).train()
    is_graph = False if job.compile else is_gpu if job.graph == "auto" else job.graph
    taken = TrainingStep(model, recipe, device, is_graph, say, seed=derive(run.seed, "training"))
    steps = range(1, _STEPS + 1)
    with kernels(recipe, device), fed(_noise(run, batch), steps, device) as batches:

        def step() -> None:
            taken(*next(batches)).tolist()  # which waits for the device

        yield sum(each.numel() for each in model.parameters()), step


def _noise(run: RunSpec, batch: int) -> Patches:
    """Patches of noise, as costly as those of pictures."""
    side, scale = 2 * run.recipe.patch, run.scale
    random = np.random.default_rng(0)
    lr, hr = (random.integers(0, 256, (n, n, 3), np.uint8) for n in (side, side * scale))
    seed = derive(run.seed, "patches")
    return Patches([(lr, hr)], scale=scale, patch=run.recipe.patch, batch=batch, seed=seed)
