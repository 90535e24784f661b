"""Lease the GPUs of a job of the pipeline, before torch is loaded."""

import os
import re
from contextlib import ExitStack

from hitsr.base.errors import SpecError
from hitsr.base.leases import lease_devices, lease_place
from hitsr.cli.options import say
from hitsr.plan.gpus import VISIBLE, gpu_names
from hitsr.plan.jobs import UsedDevice, device_kind

_held = ExitStack()  # until this process ends


def take_gpus(device: UsedDevice, lease: str | None) -> None:
    """Wait for GPUs, hold them until this process ends, and hide the others from torch.

    `lease` is "places/each": with fewer places than a GPU has, one place; else whole GPUs. Does
    nothing without a lease, for "0/1", for other devices than CUDA's, and where no GPU is named.
    A job for the GPU of a number, such as `cuda:1`, waits for that one. SpecError for other words.
    """
    if lease is None:
        return
    if not re.fullmatch(r"\d+/[1-9]\d*", lease):
        raise SpecError(f"--lease {lease}: must be PLACES/EACH, such as 1/2")
    places, each = map(int, lease.split("/"))
    if places == 0 or device_kind(device) != "cuda":
        return
    names, number = gpu_names(), device.partition(":")[2]
    if number:
        names = names[int(number) : int(number) + 1]
    if not names:
        return
    if places < each:
        found = lease_place(names, each, say)
    else:
        found = lease_devices(names, min(places // each, len(names)), say)
    _held.push(found.places)
    say(f"on {', '.join(found.devices)}")
    if not number:  # otherwise it counts from the first of all
        os.environ[VISIBLE] = ",".join(found.devices)
