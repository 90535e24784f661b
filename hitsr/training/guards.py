"""Say in one sentence why a training stopped, what of it is kept, and what to do."""

import ctypes
import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from hitsr.base.errors import HitsrError
from hitsr.records.checkpoint import folder_of
from hitsr.runtime.free_memory import is_out_of_memory
from hitsr.specs.run import RunSpec
from hitsr.training.checkpoints import last_saved_step

_FULL = (errno.ENOSPC, errno.EDQUOT)
_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_int)


@contextmanager
def explained(run: RunSpec, out: Path, device: torch.device, devices: int = 1) -> Iterator[None]:
    """Inside the block, which trains into `out`, lack of memory or disk is told as a HitsrError."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise
        remedy = "make room" if error.errno in _FULL else "mend that"
        raise HitsrError(
            f"{run.name}: {error.filename}: {error.strerror}; {remedy}, then repeat the command: "
            f"{_kept(out)}"
        ) from error
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        recipe = run.recipe
        raise HitsrError(
            f"{run.name}: out of memory on {device} in steps of batch {recipe.batch} in "
            f"{recipe.parts} part(s), patch {recipe.patch}, {devices} device(s): set "
            "`recompute: true`, `graph: false` or more `gpus`, then repeat the command: "
            f"{_kept(out)}; more `parts` or `precision: bfloat16` also need less, and start anew"
        ) from error


def _kept(out: Path) -> str:
    step = last_saved_step(folder_of(out))
    return "it starts anew" if step is None else f"it goes on from step {step}"


@contextmanager
def lost_maps_told(run: RunSpec, packs: Path) -> Iterator[None]:
    """Inside the block a pack that another program cuts short ends the process with a sentence.

    The kernel then answers a read of its memory with SIGBUS. Python calls its own handlers between
    two lines of Python, and never gets beyond the read: the handler has to be C's.
    """
    if sys.platform == "win32":  # it lets nobody cut a mapped file short
        yield
        return
    words = (
        f"hitsr: {run.name}: a memory-mapped file was cut short or cannot be read, probably a pack "
        f"in {packs}; repeat the command: it makes damaged packs anew and goes on from the last "
        "checkpoint\n"
    ).encode()

    def speak(_: int) -> None:
        os.write(2, words)
        os._exit(1)

    handler = _HANDLER(speak)  # which must live as long as it is set
    # The C library's own function: Python's would only note the signal.
    set_handler = ctypes.CDLL(None).signal
    set_handler.restype, set_handler.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p]
    before = set_handler(signal.SIGBUS, ctypes.cast(handler, ctypes.c_void_p))
    try:
        yield
    finally:
        set_handler(signal.SIGBUS, before)
