"""The processes that share a training: each computes some parts of every batch.

The gradients of all parts are gathered in every process and added in the order of the parts. So
one, two or four processes give the same bits; sums that travel round a ring, as in PyTorch's
DistributedDataParallel, do not. A gradient of these networks has 4 MB.

Shapes: k parts of this process, p parts of a batch, n values of a part.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from hitsr.base.errors import SpecError

T = TypeVar("T")

# The others wait while the first validates and writes.
_PATIENCE = timedelta(hours=6)


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
        if parts % self.count:
            raise SpecError(
                f"{self.count} processes cannot share the {parts} parts of a batch equally; "
                "change the recipe's `parts` or the number of `gpus`"
            )
        own = parts // self.count
        return range(self.rank * own, (self.rank + 1) * own)

    def gathered(self, rows: Tensor) -> Tensor:
        """The rows (k, n) of all processes, in order: (p, n)."""
        if self.count == 1:
            return rows
        found = rows.new_empty(self.count * len(rows), *rows.shape[1:])
        dist.all_gather_into_tensor(found, rows)
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
        dist.broadcast_object_list(box, src=0)
        return box[0]


ALONE = Processes()


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """Inside the block this process, which torchrun has started, works with the others."""
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        timeout=_PATIENCE,
        device_id=device if device.type == "cuda" else None,
    )
    try:
        yield Processes(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
