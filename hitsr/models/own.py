"""A user's own network: from a Python function that makes it, or a checkpoint for spandrel.

It is a `torch.nn.Module` that maps (b, 3, h, w) in [0, 1] to (b, 3, h*scale, w*scale), and is
measured like the networks of this package.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from hitsr.base.errors import SpecError, did_you_mean
from hitsr.specs.source import Source, read_source


def load_own(source: str, scale: int) -> nn.Module:
    """Make the network that `source` names, for one scale, in eval mode.

    `specs.source` reads `source`; a function is called as `function(scale=scale)`. Loading runs the
    code it names. Raises SpecError if there is no such function or file, or the network does not
    upscale by `scale`.
    """
    try:
        found = read_source(source)
    except ValueError as error:
        raise SpecError(f"{source}: {error}") from None
    if found.file and not found.function:
        model = _spandrel(found.file)
    else:
        model = _function(found, source)(scale=scale)
    if not isinstance(model, nn.Module):
        raise SpecError(f"{source}: made {type(model).__name__}, want a torch.nn.Module")
    _check_upscales(model.eval(), source, scale)
    return model


def _function(found: Source, source: str) -> Callable[..., Any]:
    name = found.function
    module = _file_module(found.file) if found.file else _installed_module(found.module, source)
    made = getattr(module, name, None)
    if not callable(made):
        known = [each for each, value in vars(module).items() if callable(value)]
        raise SpecError(f"{source}: no function {name!r} there; {did_you_mean(name, known)}")
    return cast(Callable[..., Any], made)


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
    if not path.is_file():
        raise SpecError(f"{path}: no such file")
    model: nn.Module = spandrel.ModelLoader(device="cpu").load_from_file(path).model
    return model


def _check_upscales(model: nn.Module, source: str, scale: int) -> None:
    """Upscale one small picture, so that a wrong network is reported before long work."""
    with torch.inference_mode():
        out = model(torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(0)))
    shape = tuple(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
    if shape != (1, 3, 16 * scale, 24 * scale):
        raise SpecError(
            f"{source}: made {shape} of (1, 3, 16, 24); at x{scale} want "
            f"(1, 3, {16 * scale}, {24 * scale})"
        )
