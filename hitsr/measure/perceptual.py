"""Any metric of pyiqa by name, with or without a reference; PSNR and SSIM are our own.

pyiqa's SSIM rounds luma, and its PSNR on "Y" means another Y. Metrics whose weights cannot be
fetched are unavailable for a stated reason; a misspelt name is an error.
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
    """What can be measured here, and what cannot, with the reason."""

    scores: dict[str, Score]  # name -> (sr, hr, both cropped) -> value
    signatures: dict[str, str]
    unavailable: dict[str, str]


def load_metrics(names: Sequence[str], device: torch.device) -> Metrics:
    """Build metrics by pyiqa's names; DataError, with the nearest, for a name it does not know."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pyiqa's dependencies, as they are imported
        import pyiqa

    known = pyiqa.list_models()
    for name in names:
        if name not in known:
            raise DataError(f"--metrics: no {name!r}; {did_you_mean(name, known)}")
    made = Metrics({}, {}, {})
    for name in names:
        try:
            with warnings.catch_warnings(), redirect_stdout(sys.stderr):  # it tells of downloads
                warnings.simplefilter("ignore")
                metric = pyiqa.create_metric(name, device=device)
        except Exception as error:  # no network, a missing package: whatever it is is the reason
            made.unavailable[name] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            continue
        kind = {"FR": "full-reference", "NR": "no-reference"}[metric.metric_mode]
        better = "lower" if metric.lower_better else "higher"
        version = pyiqa.__version__
        made.signatures[name] = f"{name}|rgb|{kind}|better:{better}|border:scale|pyiqa:{version}"
        made.scores[name] = _score(metric, kind == "full-reference", device)
    return made


def _score(metric: Callable[..., Tensor], has_reference: bool, device: torch.device) -> Score:
    def score(sr: Picture, hr: Picture) -> float:
        pictures = (sr, hr) if has_reference else (sr,)
        with torch.inference_mode():
            value = float(metric(*(_tensor(picture, device) for picture in pictures)))
        if not np.isfinite(value):
            raise DataError(f"the metric's value is {value}")
        return value

    return score


def _tensor(picture: Picture, device: torch.device) -> Tensor:
    contiguous = np.ascontiguousarray(picture.transpose(2, 0, 1))
    return torch.from_numpy(contiguous)[None].to(device).float() / 255
