"""Set how products of floats are computed, so that no result depends on torch's global defaults."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from hitsr.base.errors import SpecError
from hitsr.specs.steps import Precision

_DTYPES: dict[Precision, torch.dtype] = {"float16": torch.float16, "bfloat16": torch.bfloat16}
# Settings that trade exactness for speed, as names below torch.backends.
_TF32 = ("cuda.matmul.allow_tf32", "cudnn.allow_tf32")
_HALF_SUMS = (
    "cuda.matmul.allow_fp16_reduced_precision_reduction",
    "cuda.matmul.allow_bf16_reduced_precision_reduction",
)
_BY_TRIAL = "cudnn.benchmark"
KERNEL_SWITCH = "HITSR_KERNELS"  # of the environment; "plain" turns kernels of our own off


def dtype_of(precision: Precision) -> torch.dtype:
    """The dtype of weights and pictures."""
    return _DTYPES.get(precision, torch.float32)


@contextmanager
def computing(
    precision: Precision, device: torch.device, *, by_trial: bool | None = None
) -> Iterator[None]:
    """Compute in `precision` inside the block; the settings from before come back after it.

    Of float32 products on NVIDIA GPUs, "tf32" alone uses TF32. Sums of 16-bit products are kept in
    float32. "autocast" is autocast to bfloat16, which casts weights anew in each use. Weights and
    pictures are not converted; they have `dtype_of(precision)`. `by_trial`: whether cuDNN tries its
    algorithms for each new size and keeps the fastest; None leaves it as it is.

    Raises SpecError for TF32 on a device without it.
    """
    check_precision(precision, device)
    values = dict.fromkeys(_TF32, precision == "tf32") | dict.fromkeys(_HALF_SUMS, False)
    if by_trial is not None:
        values[_BY_TRIAL] = by_trial
    with ExitStack() as settings:
        for name, value in values.items():
            settings.enter_context(_set(name, value))
        # Kept until the block ends, casts of weights would be used again after weights changed.
        settings.enter_context(
            torch.autocast(
                device.type,
                torch.bfloat16,
                enabled=precision == "autocast",
                cache_enabled=False,
            )
        )
        yield


@contextmanager
def challenge_settings() -> Iterator[None]:
    """PyTorch's defaults: TF32 in convolutions alone, and no trials of algorithms."""
    values = {"cuda.matmul.allow_tf32": False, "cudnn.allow_tf32": True, _BY_TRIAL: False}
    with ExitStack() as stack:
        for name, value in values.items():
            stack.enter_context(_set(name, value))
        yield


def settings(device: torch.device) -> dict[str, str]:
    """The settings that hold now for this device, by name; empty for other devices than GPUs."""
    if device.type != "cuda":
        return {}
    found = {name: str(_get(name)) for name in (*_TF32, *_HALF_SUMS, _BY_TRIAL)}
    return found | {KERNEL_SWITCH: os.environ.get(KERNEL_SWITCH, "auto")}


def uses_tf32() -> bool:
    """Whether PyTorch's float32 matrix products may use TF32 on NVIDIA GPUs."""
    return _get(_TF32[0])


def check_precision(precision: Precision, device: torch.device) -> None:
    """SpecError for TF32 on a device without it."""
    if precision != "tf32":
        return
    if device.type != "cuda":
        raise SpecError(f"precision tf32: {device} has no TF32, NVIDIA GPUs have; use float32")
    if torch.cuda.get_device_capability(device) < (8, 0):
        name = torch.cuda.get_device_name(device)
        raise SpecError(
            f"precision tf32: {name} is older than NVIDIA's Ampere and has no TF32; use float32"
        )


@contextmanager
def _set(name: str, value: bool) -> Iterator[None]:
    owner, _, attribute = name.rpartition(".")
    before = _get(name)
    setattr(_backend(owner), attribute, value)
    try:
        yield
    finally:
        setattr(_backend(owner), attribute, before)


def _get(name: str) -> bool:
    owner, _, attribute = name.rpartition(".")
    try:
        return bool(getattr(_backend(owner), attribute))
    except RuntimeError:  # it was set by torch's newer names, which the older ones refuse to read
        operations = _backend("cudnn.conv" if owner == "cudnn" else owner)
        return str(operations.fp32_precision) == "tf32"


def _backend(path: str) -> Any:
    found: Any = torch.backends
    for part in path.split("."):
        found = getattr(found, part)
    return found
