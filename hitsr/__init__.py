"""hitsr: a reproducibility and ablation suite for hierarchical super-resolution transformers.

The public names below are resolved on first use, so that importing `hitsr` loads no torch.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hitsr.api import complexity
    from hitsr.data.bicubic import imresize
    from hitsr.measure.attribution import local_attribution, local_attributions
    from hitsr.measure.metrics import psnr, ssim
    from hitsr.models.backbone import create
    from hitsr.models.checkpoints import load_weights
    from hitsr.share.pretrained import from_pretrained
    from hitsr.specs.convert import to_hierarchical
    from hitsr.specs.network import NetworkSpec
    from hitsr.specs.zoo import NETWORKS
    from hitsr.upscaling.inference import upscale

__version__ = version("hitsr")

_HOME = {
    "NETWORKS": "hitsr.specs.zoo",
    "NetworkSpec": "hitsr.specs.network",
    "complexity": "hitsr.api",
    "create": "hitsr.models.backbone",
    "from_pretrained": "hitsr.share.pretrained",
    "imresize": "hitsr.data.bicubic",
    "load_weights": "hitsr.models.checkpoints",
    "local_attribution": "hitsr.measure.attribution",
    "local_attributions": "hitsr.measure.attribution",
    "psnr": "hitsr.measure.metrics",
    "ssim": "hitsr.measure.metrics",
    "to_hierarchical": "hitsr.specs.convert",
    "upscale": "hitsr.upscaling.inference",
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
    "local_attributions",
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
