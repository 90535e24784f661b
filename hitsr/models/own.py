"""A user's own network: from a Python function that makes it, or a checkpoint for spandrel.

It is a `torch.nn.Module` that maps (b, 3, h, w) in [0, 1] to (b, 3, h*scale, w*scale), and is
measured like the networks of this package.
"""

import inspect
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from itertools import chain
from pathlib import Path
from textwrap import shorten
from typing import Any, cast

import torch
from torch import Tensor, nn

from hitsr.base.errors import HitsrError, SpecError, did_you_mean, in_one_line
from hitsr.models.weight_files import read_weights
from hitsr.specs.source import Source, read_source

Size = tuple[int, int]  # height and width in LR pixels
_LOOKS: tuple[Size, Size] = ((16, 24), (64, 128))  # some networks need larger pictures
_MULTIPLES = (2, 4, 8, 16, 32, 64)  # that networks need the sides of pictures to be


def load_own(source: str, scale: int) -> nn.Module:
    """Make the network that `source` names, for one scale, in eval mode.

    `specs.source` reads `source`; a function is called as `function(scale=scale)`. Loading runs the
    code that it names; no code in a checkpoint is run. Raises SpecError if there is no such
    function or file, if it fails, or if the network does not upscale a small picture by `scale`;
    WeightsError for a file that is no checkpoint.
    """
    found = _read(source)
    if found.file and not found.function:
        model = _spandrel(found.file)
    else:
        model = _made(found, source, scale)
    if not isinstance(model, nn.Module):
        raise SpecError(f"{source}: made {type(model).__name__}, want a torch.nn.Module")
    _check_finite(model.eval(), source)
    _check_upscales(model, source, scale)
    return model


@contextmanager
def explaining_own(source: str) -> Iterator[None]:
    """Turn any error of a user's own code into a SpecError of one sentence."""
    try:
        yield
    except HitsrError:
        raise
    except (Exception, SystemExit) as error:
        reason = in_one_line(error) if isinstance(error, Exception) else "it ends the program"
        raise SpecError(f"{source}: failed{_place(error, source)}: {reason}") from error


def check_takes(model: nn.Module, source: str, scale: int, sizes: Iterable[Size]) -> None:
    """Raise SpecError if the network cannot upscale pictures of one of these (height, width).

    Tried on small pictures, before a long work on large ones.
    """
    wanted = {(height, width): (_like(height), _like(width)) for height, width in sizes}
    tried: dict[Size, str] = {}
    if not _problem(model, (67, 101), scale):  # takes any multiple of one pixel
        wanted = {size: like for size, like in wanted.items() if min(size) < _LOOKS[-1][0]}
    for size, like in wanted.items():
        if like not in tried:
            tried[like] = _problem(model, like, scale)
        if tried[like]:
            multiple = _multiple(model, scale) or 1
            need = f"it needs multiples of {multiple}: " if any(s % multiple for s in size) else ""
            raise SpecError(
                f"{source}: cannot upscale LR pictures of {size[1]}x{size[0]}: {tried[like]}; "
                f"{need}let your network pad them and crop its output"
            )


def _read(source: str) -> Source:
    try:
        return read_source(source)
    except ValueError as error:
        raise SpecError(f"{source}: {error}") from None


def _made(found: Source, source: str, scale: int) -> Any:
    name = found.function
    with explaining_own(source):
        module = _file_module(found.file) if found.file else _installed_module(found.module, source)
    make = getattr(module, name, None)
    if not callable(make):
        known = [each for each, value in vars(module).items() if callable(value)]
        raise SpecError(f"{source}: no function {name!r} there; {did_you_mean(name, known)}")
    _check_takes_scale(make, source)
    with explaining_own(source):
        return make(scale=scale)


def _check_takes_scale(make: Callable[..., Any], source: str) -> None:
    try:
        inspect.signature(make).bind(scale=2)
    except ValueError:  # functions that are not written in Python may have no signature
        pass
    except TypeError as error:
        raise SpecError(
            f"{source}: cannot be called with `scale=2` alone: {error}; give it one parameter "
            "`scale`, and defaults to all others"
        ) from None


def _file_module(path: Path) -> Any:
    spec = spec_from_file_location(f"hitsr_own_{path.stem}", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise SpecError(f"{path}: no such file")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickle look modules up here
    spec.loader.exec_module(module)
    return module


def _installed_module(name: str, source: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise SpecError(f"{source}: {error}; install it, or name a file.py:function") from None


def _spandrel(path: Path) -> nn.Module:
    try:
        import spandrel
    except ModuleNotFoundError:
        raise SpecError(
            f"{path}: needs the package spandrel; run `pip install 'hitsr[spandrel]'`"
        ) from None
    # Read here, since spandrel goes by the suffix of the file and runs TorchScript.
    state = spandrel.canonicalize_state_dict(dict(read_weights(path).entries))
    try:
        loaded = spandrel.ModelLoader(device="cpu").load_from_state_dict(state)
    except spandrel.UnsupportedModelError:
        raise SpecError(f"{path}: of no architecture that spandrel knows") from None
    except Exception as error:  # each architecture raises its own
        raise SpecError(
            f"{path}: spandrel cannot build its network ({shorten(str(error), 200)}); the file "
            "may be incomplete"
        ) from None
    return cast(nn.Module, loaded.model)


def _check_finite(model: nn.Module, source: str) -> None:
    for name, value in model.named_parameters():
        if not value.isfinite().all():
            raise SpecError(f"{source}: {name} is not finite; its weights diverged or are damaged")


def _check_upscales(model: nn.Module, source: str, scale: int) -> None:
    """Upscale one small picture, so that a wrong network is reported before long work."""
    small, larger = _LOOKS
    problem = _problem(model, small, scale)
    if problem and _problem(model, larger, scale):
        raise SpecError(f"{source}: {problem}")


def _problem(model: nn.Module, size: Size, scale: int) -> str:
    """What is wrong with the network's output for noise of a (height, width); empty: nothing."""
    height, width = size
    given, want = (1, 3, height, width), (1, 3, height * scale, width * scale)
    noise = torch.rand(given, generator=torch.Generator().manual_seed(0))
    device = next(chain(model.parameters(), model.buffers()), noise).device
    try:
        with torch.inference_mode():
            out = model(noise.to(device))
    except Exception as error:
        return f"failed on {given}: {in_one_line(error)}"
    if not isinstance(out, Tensor):
        return f"made {type(out).__name__} of {given}; want a tensor {want}"
    if tuple(out.shape) != want:
        return f"made {tuple(out.shape)} of {given}; at x{scale} want {want}"
    if out.dtype != torch.float32:
        return f"made {out.dtype}; want torch.float32, as the picture that it is given"
    return "" if out.isfinite().all() else "made values that are not finite"


def _like(side: int) -> int:
    """A small side with the same remainder for all of `_MULTIPLES`."""
    most = _MULTIPLES[-1]
    return side if side < 2 * most else most + side % most


def _multiple(model: nn.Module, scale: int) -> int | None:
    """The number that sides of pictures must be a multiple of; None if it is not found."""
    sizes = {each: (64 + each, 64 + 3 * each) for each in _MULTIPLES}
    return next((each for each, size in sizes.items() if not _problem(model, size, scale)), None)


def _place(error: BaseException, source: str) -> str:
    """ " in line 7": where in the user's file an error was raised."""
    file = _read(source).file
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if file and frame.filename in (str(file), str(file.absolute()))
    ]
    return f" in line {lines[-1]}" if lines else ""
