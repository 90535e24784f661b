"""Measure in a process of its own where need be, such as the peak memory of one forward.

An allocator keeps the memory of earlier measurements, which would hide the peak of the next one in
the resident set. Starting Python and importing torch takes seconds; on Linux a server process does
it once, and is forked for each measurement. On CUDA torch counts what it hands out, however much it
keeps, so there this process measures, and no other has to open the GPU.
"""

import gc
import multiprocessing
import platform
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from multiprocessing.context import BaseContext
from typing import TypeVar

import torch
from torch import nn

from hitsr.base.errors import SpecError
from hitsr.measure.forwards import Work, conditions, explaining, ready
from hitsr.records import PeakMemory
from hitsr.runtime.memory import watching

T = TypeVar("T")

# Imported by the server. Importing them neither uses a GPU nor starts threads, which do not survive
# a fork.
_IMPORTED = ("torch", "hitsr.measure.fresh")


def peak_memory(
    make: Callable[[], nn.Module], work: Work, threads: int, imported: tuple[str, ...] = ()
) -> PeakMemory:
    """Like `peak_in_fresh_process`; on CUDA without another process. Frees what it used.

    There the forward is the second one: what was chosen and kept in the first is at rest.
    """
    if work.device.type != "cuda":
        return peak_in_fresh_process(make, work, threads, imported)
    try:
        return _peak(make, work, threads)
    except SpecError as error:
        reason = str(error)
    finally:
        gc.collect()
        torch.cuda.empty_cache()
    # Not from the error itself, whose traceback would keep the model's tensors alive.
    raise SpecError(reason)


def peak_in_fresh_process(
    make: Callable[[], nn.Module], work: Work, threads: int, imported: tuple[str, ...] = ()
) -> PeakMemory:
    """Peak memory above rest of one forward of the model that `make` returns.

    At rest the process holds the model, the pictures and compiled code. `make` is pickled and sent
    to the process, which uses `threads` CPU threads. The server imports the modules `imported` in
    advance. Raises SpecError if the model cannot run, or if the process is killed.
    """
    return in_fresh_process(_peak, make, work, threads, words=work.words, imported=imported)


def in_fresh_process(
    function: Callable[..., T], *arguments: object, words: str, imported: tuple[str, ...] = ()
) -> T:
    """The result of a function in a new process; both it and its arguments are pickled.

    Its errors are raised here. `words` say what is measured. Raises SpecError if the process is
    killed.
    """
    try:
        with ProcessPoolExecutor(1, _processes(imported)) as process:
            return process.submit(function, *arguments).result()
    except BrokenProcessPool as error:
        raise SpecError(
            f"{words}: the process that measures was killed, probably because memory ran out; "
            "use a smaller batch or picture"
        ) from error


@cache
def _processes(imported: tuple[str, ...]) -> BaseContext:
    if platform.system() != "Linux":  # elsewhere torch's libraries do not survive a fork
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*_IMPORTED, *imported])
    return context


def _peak(make: Callable[[], nn.Module], work: Work, threads: int) -> PeakMemory:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    with explaining(work):
        model = make()
    with conditions(work):
        forward = ready(model, work)
        if work.device.type == "cuda":
            forward.run()  # in which cuDNN and `trials.fastest` try ways that need more memory
        with watching(work.device) as memory:
            forward.run()
            return PeakMemory(peak_memory_bytes=memory.peak_bytes, memory_kind=memory.kind)
