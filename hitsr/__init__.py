"""hitsr: a reproducibility and ablation suite for hierarchical super-resolution transformers.

The public names below are resolved on first use, so that importing `hitsr` loads no torch.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hitsr.api import complexity
    from hitsr.convert import to_hierarchical
    from hitsr.data.bicubic import imresize
    from hitsr.inference import upscale
    from hitsr.measure.attribution import local_attribution
    from hitsr.metrics import psnr, ssim
    from hitsr.models.backbone import create
    from hitsr.models.checkpoints import load_weights
    from hitsr.models.pretrained import from_pretrained
    from hitsr.spec import NetworkSpec
    from hitsr.zoo import NETWORKS

__version__ = version("hitsr")

_HOME = {
    "NETWORKS": "hitsr.zoo",
    "NetworkSpec": "hitsr.spec",
    "complexity": "hitsr.api",
    "create": "hitsr.models.backbone",
    "from_pretrained": "hitsr.models.pretrained",
    "imresize": "hitsr.data.bicubic",
    "load_weights": "hitsr.models.checkpoints",
    "local_attribution": "hitsr.measure.attribution",
    "psnr": "hitsr.metrics",
    "ssim": "hitsr.metrics",
    "to_hierarchical": "hitsr.convert",
    "upscale": "hitsr.inference",
}

__all__ = [
    "NETWORKS",
    "NetworkSpec",
    "complexity",
    "create",
    "from_pretrained",
    "imresize",
    "load_weights",
    "local_attribution",
    "psnr",
    "ssim",
    "to_hierarchical",
    "upscale",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'hitsr' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOME]
