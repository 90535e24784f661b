"""The processes that share a training: each computes some parts of every batch.

The gradients of all parts are gathered in every process and added in the order of the parts. So
one, two or four processes give the same bits; sums that travel round a ring, as in PyTorch's
DistributedDataParallel, do not. A gradient of these networks has 4 MB.

Shapes: k parts of this process, p parts of a batch, n values of a part.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from hitsr.base.errors import HitsrError
from hitsr.runtime.free_memory import is_out_of_memory
from hitsr.specs.recipe import check_sharing

T = TypeVar("T")

# The others wait while the first validates and writes.
_PATIENCE = timedelta(hours=6)


class LostError(HitsrError):
    """Another process of the training has ended."""


@dataclass(frozen=True)
class Processes:
    """This process and how many there are; alone by default."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process speaks, validates and writes for all."""
        return self.rank == 0

    def share(self, parts: int) -> range:
        """The parts of a batch that this process computes; SpecError if they do not come out."""
        check_sharing(parts, self.count)
        own = parts // self.count
        return range(self.rank * own, (self.rank + 1) * own)

    def gathered(self, rows: Tensor) -> Tensor:
        """The rows (k, n) of all processes, in order: (p, n)."""
        if self.count == 1:
            return rows
        found = rows.new_empty(self.count * len(rows), *rows.shape[1:])
        with _speaking():
            dist.all_gather([*found.chunk(self.count)], rows)
        return found

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether the flag is set in any process; all must ask."""
        if self.count == 1:
            return flag
        return bool(self.gathered(torch.tensor([flag], device=device)).any())

    def first_says(self, value: T) -> T:
        """The first process's value, such as the checkpoint to go on from; all must ask."""
        if self.count == 1:
            return value
        box = [value]
        with _speaking():
            dist.broadcast_object_list(box, src=0)
        return box[0]

    def first_then_others(self, make: Callable[[], T]) -> T:
        """What `make` gives in each process; the others call it once the first has, to find files.

        All must ask.
        """
        made = [make()] if self.is_first else []
        self.first_says(None)
        return made[0] if made else make()


ALONE = Processes()


@contextmanager
def _speaking() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise LostError(f"another process of this training has ended: {error}") from error


def is_member() -> bool:
    """Whether this process was started as one of several, by torchrun or as torchrun does."""
    return dist.is_available() and dist.is_torchelastic_launched()


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """Inside the block this process works with the others; they are found as torchrun says.

    On a GPU the device must be that which torch uses by default.
    """
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        timeout=_PATIENCE,
        device_id=device if device.type == "cuda" else None,
    )
    yield Processes(dist.get_rank(), dist.get_world_size())
    # Not after an error, for which the others may be waiting.
    dist.destroy_process_group()
