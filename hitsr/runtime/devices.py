"""Turn the device a user asks for into the one that is there."""

import torch

from hitsr.base.errors import SpecError
from hitsr.specs.config import Device


def pick_device(name: Device) -> torch.device:
    """`auto` is the current CUDA device where there is one, else the CPU.

    Raises SpecError if CUDA or Apple's GPU (mps) is asked for and torch finds none.
    """
    if name == "mps":
        return _mps()
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        built = torch.version.cuda
        reason = (
            f"no GPU answers (torch is built for CUDA {built})" if built else "a CPU-only torch"
        )
        raise SpecError(f"device 'cuda': {reason}; mend the driver or torch, or use 'cpu'")
    return torch.device("cuda", torch.cuda.current_device())


def _mps() -> torch.device:
    if torch.backends.mps.is_available():
        return torch.device("mps")
    built = torch.backends.mps.is_built()
    reason = "no GPU of Apple's answers" if built else "a torch without it"
    raise SpecError(f"device 'mps': {reason}; use 'cpu'")
