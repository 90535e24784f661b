"""Name the GPUs of this machine, and share them among the jobs of a pipeline.

Snakemake counts places and decides what runs. A process then leases the GPUs that its job may use
(`base.leases`), and hides the others from torch. No torch is loaded here.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache

from hitsr.base.errors import HitsrError, SpecError
from hitsr.base.leases import MOST
from hitsr.plan.needs import available_gpus

VISIBLE = "CUDA_VISIBLE_DEVICES"
_PATIENCE_S = 120.0


@cache
def gpu_names() -> tuple[str, ...]:
    """The GPUs that jobs may use here, as CUDA_VISIBLE_DEVICES names them; none but on Linux.

    If that variable is set, by a user or by a cluster, they are those that it names. Otherwise they
    are all, by nvidia-smi; an instance of a divided GPU (MIG) counts as one. Names are UUIDs, by
    which all users of a machine mean the same GPU, or, without nvidia-smi, torch's numbers.
    HitsrError if nvidia-smi cannot be run or does not answer.
    """
    asked = os.environ.get(VISIBLE)
    if sys.platform != "linux" or asked == "":
        return ()
    listed = _listed()
    if asked is not None:
        return tuple(dict.fromkeys(_named(asked, listed)))
    every = [name for names in listed for name in names]
    return tuple(every or map(str, range(available_gpus())))


def limits(each: int = 1) -> list[str]:
    """Resources for a profile of Snakemake: the places of all GPUs, of which each has `each`.

    A machine without GPUs that are named here has one, such as that of Apple. SpecError for a
    number of places that a GPU cannot have.
    """
    if not 1 <= each <= MOST:
        raise SpecError(f"{each} places on a GPU: must be 1 to {MOST}; correct the profile")
    return [f"gpu_places={max(1, len(gpu_names())) * each}", f"places_per_gpu={each}"]


def _listed() -> list[list[str]]:
    """UUIDs by nvidia-smi: of each GPU, or of the instances that it is divided into."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    try:
        done = subprocess.run(
            [command, "-L"], capture_output=True, encoding="utf-8", errors="replace",
            timeout=_PATIENCE_S,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HitsrError(
            f"{command} -L, which tells this machine's GPUs: {error}; mend the driver, or set "
            f"{VISIBLE} to nothing to use no GPU"
        ) from None
    found: list[list[str]] = []
    for kind, uuid in re.findall(r"^\s*(GPU|MIG) .*\(UUID: ([^)]+)\)", done.stdout, re.M):
        if kind == "GPU":
            found.append([uuid])
        elif found:
            found[-1].append(uuid)
    return [names[1:] or names for names in found]


def _named(asked: str, listed: Sequence[Sequence[str]]) -> list[str]:
    """The names in a value of CUDA_VISIBLE_DEVICES, numbers and beginnings of UUIDs written out.

    As to CUDA, names from the first unknown one on do not count. Numbers are those of nvidia-smi.
    """
    found = []
    for name in (part.strip() for part in asked.split(",")):
        if name.isdecimal():
            if listed and int(name) >= len(listed):
                break
            found.append(listed[int(name)][0] if listed else name)
        elif name.startswith(("GPU-", "MIG-")):
            known = [uuid for names in listed for uuid in names if uuid.startswith(name)]
            found.append(known[0] if len(known) == 1 else name)
        else:  # -1 and an empty name hide all
            break
    return found
