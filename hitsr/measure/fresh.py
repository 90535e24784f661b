"""Peak memory of one forward in a process of its own.

What one measurement leaves in an allocator, another would reuse: its own peak would not be seen.
"""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import torch
from torch import nn

from hitsr.base.errors import SpecError
from hitsr.measure.forwards import Work, conditions, ready
from hitsr.records import PeakMemory
from hitsr.runtime.memory import watching


def peak_in_fresh_process(make: Callable[[], nn.Module], work: Work, threads: int) -> PeakMemory:
    """Highest use above rest of one forward of what `make` makes, by `threads` CPU threads.

    At rest the process holds model and pictures, and what compiling left. `make` is sent to the
    process: it must pickle. Raises as `measure` does, and SpecError if the process is killed.
    """
    spawn = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(1, spawn) as process:
            return process.submit(_peak, make, work, threads).result()
    except BrokenProcessPool as error:
        raise SpecError(
            f"{work.words}: the process that measures memory was killed, as where there is too "
            "little of it; use a smaller batch or picture"
        ) from error


def _peak(make: Callable[[], nn.Module], work: Work, threads: int) -> PeakMemory:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = make()
    with conditions(work):
        forward = ready(model, work)
        with watching(work.device) as memory:
            forward.run()
            return PeakMemory(peak_memory_bytes=memory.peak_bytes, memory_kind=memory.kind)
