"""Metrics of pyiqa by name, such as LPIPS, with or without a reference picture.

PSNR and SSIM are not taken from pyiqa: its SSIM rounds luma, and its PSNR uses another definition
of Y. Whoever asks for them gets them beside ours, as `pyiqa_psnr`. A metric that cannot be loaded,
such as one whose weights cannot be downloaded, is reported as unavailable with the reason; a
misspelt name is an error.
"""

import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hitsr.base.errors import DataError, did_you_mean, in_one_line
from hitsr.data.images import Picture
from hitsr.measure.quality import Score, signatures

# Ours and pyiqa's of these names are different metrics, so pyiqa's get a prefix in records.
_OURS = ("psnr", "ssim")
_PREFIX = "pyiqa_"


class Metrics(NamedTuple):
    """The metrics that could be loaded, and the reasons for the others."""

    scores: dict[str, Score]  # name in records -> function
    signatures: dict[str, str]  # name in records -> signature
    unavailable: dict[str, str]  # name in records -> reason


def load_metrics(names: Sequence[str], device: torch.device) -> Metrics:
    """Load metrics by pyiqa's names, in upper or lower case, each once.

    Raises DataError for an unknown name, with the nearest known one.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from pyiqa's dependencies on import
        import pyiqa

    known = pyiqa.list_models()
    metrics = Metrics({}, {}, {})
    for name in dict.fromkeys(_found(name, known) for name in names):
        recorded = recorded_name(name)
        try:
            with warnings.catch_warnings(), redirect_stdout(sys.stderr):  # download messages
                warnings.simplefilter("ignore")
                metric = pyiqa.create_metric(name, device=device)
        except Exception as error:  # no internet, a missing package, ...: report any
            metrics.unavailable[recorded] = in_one_line(error)
            continue
        kind = {"FR": "full-reference", "NR": "no-reference"}[metric.metric_mode]
        better = "lower" if metric.lower_better else "higher"
        version = pyiqa.__version__
        metrics.signatures[recorded] = (
            f"{recorded}|input:rgb|{kind}|better:{better}|border:scale|pyiqa:{version}"
        )
        metrics.scores[recorded] = _score(metric, kind == "full-reference", device)
    return metrics


def recorded_name(name: str) -> str:
    """The name of a metric of pyiqa in records: `ms_ssim`, but `pyiqa_psnr` and `pyiqa_ssimc`."""
    return f"{_PREFIX}{name}" if name.startswith(_OURS) else name


def _found(name: str, known: Sequence[str]) -> str:
    """pyiqa's spelling of a name that a user gives; DataError if it has no such metric."""
    asked = name.strip().lower()
    if asked not in _OURS and asked in signatures(""):
        raise DataError(f"--metrics: {asked} is always measured; leave it out")
    by_lower_case = {each.lower(): each for each in known}
    plain = asked.removeprefix(_PREFIX)
    if plain not in by_lower_case:
        near = did_you_mean(plain, known)
        raise DataError(f"--metrics: pyiqa has no metric {name.strip()!r}; {near}")
    return by_lower_case[plain]


def _score(metric: Callable[..., Tensor], has_reference: bool, device: torch.device) -> Score:
    """Wrap a metric of pyiqa as a function from pictures to a number."""

    def score(sr: Picture, hr: Picture) -> float:
        pictures = (sr, hr) if has_reference else (sr,)
        with torch.inference_mode():
            value = float(metric(*(_tensor(picture, device) for picture in pictures)))
        if not np.isfinite(value):
            raise DataError(f"the metric's value is {value}")
        return value

    return score


def _tensor(picture: Picture, device: torch.device) -> Tensor:
    """(h, w, 3) uint8 -> (1, 3, h, w) in [0, 1] on the device."""
    contiguous = np.ascontiguousarray(picture.transpose(2, 0, 1))
    return torch.from_numpy(contiguous)[None].to(device).float() / 255
