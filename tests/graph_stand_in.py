"""CUDA graphs on a CPU, for tests: the calls of CUDA that `hitsr.runtime.graphs` makes.

A tape notes each operator of torch and the tensors that it was given. As on a GPU, a capture leaves
no results and no changes behind; a replay runs the same operators on the same memory, without any
Python of the captured function, and raises no tensor's version.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hitsr.runtime.graphs import Cuda


class StandIn(Cuda):
    """What `graphs.cuda` is replaced by. Captures raise the `failure`, if there is one."""

    def __init__(self) -> None:
        self.captures = self.replays = 0
        self.failure: Exception | None = None
        self.pools: list[object] = []
        self._capturing: int | None = None  # the thread that captures

    def has_graphs(self, device: torch.device) -> bool:
        return device.type == "cpu"

    def is_capturing(self) -> bool:
        return self._capturing == threading.get_ident()  # as CUDA says it of a stream

    def new_pool(self) -> object:
        return object()

    @contextmanager
    def side_stream(self, device: torch.device) -> Iterator[None]:  # noqa: ARG002
        yield

    @contextmanager
    def in_turn(self, device: torch.device) -> Iterator[None]:  # noqa: ARG002
        yield

    def record(self, function: Callable[[], Any], pool: object) -> tuple[Callable[[], None], Any]:
        assert self._capturing is None, "one capture at a time"
        self.pools.append(pool)
        tape, random = _Tape(), torch.get_rng_state()
        self._capturing = threading.get_ident()
        try:
            with tape:
                results = function()
                if self.failure:
                    raise self.failure
        except Exception as error:  # as CUDA ends a capture in which anything failed
            raise RuntimeError("operation failed due to a previous error during capture") from error
        finally:
            self._capturing = None
            tape.forget_results()
            torch.set_rng_state(random)
        self.captures += 1

        def replay() -> None:
            assert self._capturing is None, "a replay within a capture"
            self.replays += 1
            tape.replay()

        return replay, results


class _Tape(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self._steps: list[Callable[[], None]] = []
        self._made: dict[int, torch.UntypedStorage] = {}  # by address
        self._before: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}
        self._alive: list[Tensor] = []  # an address means one tensor only

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given, changed = _tensors((args, kwargs)), _written(func, args, kwargs)
        for tensor in changed:
            self._keep(tensor.untyped_storage())
        made = func(*args, **kwargs)
        addresses = {tensor.untyped_storage().data_ptr() for tensor in given}
        fresh = [x for x in _tensors(made) if x.untyped_storage().data_ptr() not in addresses]
        self._made |= {x.untyped_storage().data_ptr(): x.untyped_storage() for x in fresh}
        self._alive += [*given, *fresh]
        places = [x.untyped_storage().data_ptr() not in addresses for x in _tensors(made)]

        def step() -> None:
            with torch.autograd._unsafe_preserve_version_counter(tuple(changed)):
                again = [x for x, new in zip(_tensors(func(*args, **kwargs)), places) if new]
            for old, new in zip(fresh, again, strict=True):
                old.data.copy_(new)

        if changed or fresh:  # else views of what is there
            self._steps.append(step)
        return made

    def _keep(self, storage: torch.UntypedStorage) -> None:
        address = storage.data_ptr()
        if address not in self._made and address not in self._before:
            self._before[address] = (storage, storage.clone())

    def forget_results(self) -> None:
        for storage in self._made.values():
            storage.fill_(255)  # floats: not a number
        for storage, content in self._before.values():
            storage.copy_(content)

    def replay(self) -> None:
        with torch.no_grad():
            for step in self._steps:
                step()


def _written(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """What an operator changes in place."""
    values = [*args, *([None] * len(func._schema.arguments))]
    given = [
        kwargs.get(argument.name, value)
        for argument, value in zip(func._schema.arguments, values)
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    return _tensors(given)


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
