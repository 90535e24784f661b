"""The rule that chooses between a kernel of ours and PyTorch's operators, on a CUDA device.

A kernel is used where all of this holds:

- Triton is installed, the device is an NVIDIA GPU with compute capability 8.0 or more, features
  are float32, float16 or bfloat16 (`kernels.launch.why_not`);
- the environment variable HITSR_KERNELS is not "plain";
- the kernel takes such shapes (`why_not` of its file);
- at first use with a dtype, a size and with or without gradients, it gave what PyTorch's operators
  give, but for rounding (`trials.agrees`), and took less time (`trials.fastest`). With
  deterministic algorithms nothing is timed, and it is used if it agrees.

Records of timings name each choice (`trials.chosen`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor

from hitsr.models.fused.cuda.kernels.launch import why_not
from hitsr.runtime.trials import Way, agrees, fastest

Kind = Literal["kernel", "plain"]
KERNEL, PLAIN = "a kernel of hitsr", "without this kernel"  # which parts of it may have

NO_SIZES: Mapping[str, int] = MappingProxyType({})


def best(
    what: str,
    kernel: Callable[[], Way | None],
    plain: Way,
    inputs: Sequence[Tensor],
    parameters: Sequence[Tensor] = (),
    sizes: Mapping[str, int] = NO_SIZES,
) -> Way:
    """The kernel or the plain way, which compute the same from `inputs`.

    `kernel` returns the way that uses it, or None where it does not take such shapes; it is called
    only where Triton is there, which it may import. `parameters` are what gradients may be wanted
    for besides those of inputs. `sizes` are what besides inputs makes a kernel another program,
    such as the side of windows: each is checked and timed for itself, and named in records.
    """
    if _only == "plain" or (_only is None and why_not(inputs[0]) is not None):
        return plain
    if not inputs[0].numel():  # a batch without pictures
        return plain
    way = kernel()
    if way is None:
        return plain
    if _only == "kernel":
        return way
    if sizes:
        what += f" ({', '.join(f'{name} {size}' for name, size in sizes.items())})"
    if not agrees(what, way, plain, inputs, parameters):
        return plain
    return fastest(what, {KERNEL: way, PLAIN: plain}, inputs, parameters=parameters)


@contextmanager
def only(kind: Kind) -> Iterator[None]:
    """Take the kernel wherever there is one, or never, for tests and comparisons.

    Not for several threads. Kernels also run on a CPU then, in Triton's interpreter.
    """
    global _only
    before, _only = _only, kind
    try:
        yield
    finally:
        _only = before


_only: Kind | None = None


def has_hooks(module: torch.nn.Module) -> bool:
    """Whether a module or one inside it has hooks, which a kernel for the whole would not call."""
    if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks:
        return True
    return any(child is not None and has_hooks(child) for child in module._modules.values())
