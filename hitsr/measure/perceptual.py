"""Metrics of pyiqa by name, such as LPIPS, with or without a reference picture.

PSNR and SSIM are not taken from pyiqa: its SSIM rounds luma, and its PSNR uses another definition
of Y. A metric that cannot be loaded, such as one whose weights cannot be downloaded, is reported as
unavailable with the reason; a misspelt name is an error.
"""

import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hitsr.base.errors import DataError, did_you_mean
from hitsr.data.images import Picture
from hitsr.measure.quality import Score


class Metrics(NamedTuple):
    """The metrics that could be loaded, and the reasons for the others."""

    scores: dict[str, Score]  # name -> function
    signatures: dict[str, str]  # name -> signature
    unavailable: dict[str, str]  # name -> reason


def load_metrics(names: Sequence[str], device: torch.device) -> Metrics:
    """Load metrics by pyiqa's names; DataError for an unknown name, with the nearest known one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from pyiqa's dependencies on import
        import pyiqa

    known = pyiqa.list_models()
    for name in names:
        if name not in known:
            raise DataError(f"--metrics: no {name!r}; {did_you_mean(name, known)}")
    metrics = Metrics({}, {}, {})
    for name in names:
        try:
            with warnings.catch_warnings(), redirect_stdout(sys.stderr):  # download messages
                warnings.simplefilter("ignore")
                metric = pyiqa.create_metric(name, device=device)
        except Exception as error:  # no internet, a missing package, ...: report any
            metrics.unavailable[name] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            continue
        kind = {"FR": "full-reference", "NR": "no-reference"}[metric.metric_mode]
        better = "lower" if metric.lower_better else "higher"
        version = pyiqa.__version__
        metrics.signatures[name] = f"{name}|rgb|{kind}|better:{better}|border:scale|pyiqa:{version}"
        metrics.scores[name] = _score(metric, kind == "full-reference", device)
    return metrics


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
