"""Turn the device name that a user gives into a torch device that exists."""

import torch

from hitsr.base.errors import SpecError
from hitsr.specs.config import Device


def pick_device(name: Device) -> torch.device:
    """The device of that name; `auto` means the current CUDA device if there is one, else the CPU.

    `plan.needs.available_device` asks this function without loading torch. Raises SpecError if
    `mps` (Apple's GPU), `cuda` or the GPU of a number, such as `cuda:1`, is asked for and torch
    does not find it.
    """
    if name == "mps":
        return _mps()
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        built = torch.version.cuda
        reason = (
            f"torch, built for CUDA {built}, finds no GPU" if built else "this torch is CPU-only"
        )
        raise SpecError(f"device {name!r}: {reason}; check the driver and torch, or use 'cpu'")
    number = name.partition(":")[2]
    if number and int(number) >= torch.cuda.device_count():
        last = torch.cuda.device_count() - 1
        raise SpecError(f"device {name!r}: torch finds GPUs 0 to {last}; name one of them")
    return torch.device("cuda", int(number) if number else torch.cuda.current_device())


def _mps() -> torch.device:
    if torch.backends.mps.is_available():
        return torch.device("mps")
    built = torch.backends.mps.is_built()
    reason = "torch finds no Apple GPU" if built else "this torch is built without it"
    raise SpecError(f"device 'mps': {reason}; use 'cpu'")
