"""The classes of the published code, and the arguments with which each is a network of ours.

Sources: XiangZ-0/HiT-SR and HVision-NKU/SRFormer (basicsr/archs), XPixelGroup/BasicSR
(basicsr/archs/swinir_arch.py, also JingyunLiang/SwinIR), rami0205/NGramSwin (my_model/swinirng.py).
"""

from typing import Any, NamedTuple

from hitsr.base.changes import differing, flat
from hitsr.base.errors import SpecError
from hitsr.specs.network import NetworkSpec, ScaledNetwork
from hitsr.specs.zoo import NETWORKS


class PublishedClass(NamedTuple):
    """A class of the published code."""

    name: str
    repository: str  # on GitHub
    module: str
    in_basicsr: bool = True  # whether option files name it, and files wrap its weights in `params`


class PublishedForm(NamedTuple):
    """How the published code makes a network."""

    made_by: PublishedClass
    arguments: dict[str, Any]


_CLASSES = {
    "swinir_light": PublishedClass("SwinIR", "XPixelGroup/BasicSR", "basicsr.archs.swinir_arch"),
    "swinir_ng": PublishedClass("SwinIRNG", "rami0205/NGramSwin", "my_model.swinirng", False),
    "srformer_light": PublishedClass(
        "SRFormer", "HVision-NKU/SRFormer", "basicsr.archs.srformer_arch"
    ),
    "hit_sir": PublishedClass("HiT_SIR", "XiangZ-0/HiT-SR", "basicsr.archs.hit_sir_arch"),
    "hit_sng": PublishedClass("HiT_SNG", "XiangZ-0/HiT-SR", "basicsr.archs.hit_sng_arch"),
    "hit_srf": PublishedClass("HiT_SRF", "XiangZ-0/HiT-SR", "basicsr.archs.hit_srf_arch"),
}
# Fields of a spec that arguments of every class set, and its name.
_FREE = {
    "name", "mixer.heads", "ffn.ratio", "windows.base", "depths", "width", "upsampler",
    "stochastic_depth",
}  # fmt: skip
_UPSAMPLERS = {"one_step": "pixelshuffledirect", "two_stage": "pixelshuffle"}
TRAINING_PATCH = 64  # side in LR pixels, of all published trainings of the six networks


def patch_side(window: int) -> int:
    """Side of the LR patches, `img_size`, that a published network with such windows is made for.

    Whole windows, at least two a side: the published code does not shift a single window.
    """
    return max(2, TRAINING_PATCH // window) * window


def published_form(subject: ScaledNetwork) -> PublishedForm:
    """The class and arguments by which the published code makes a network.

    Raises SpecError, with the differences from the class that is nearest, if it cannot.
    """
    network = subject.network
    differences = {name: _differences(NETWORKS[name], network) for name in _CLASSES}
    nearest = min(_CLASSES, key=lambda name: len(differences[name]))
    made_by = _CLASSES[nearest]
    if differences[nearest]:
        raise SpecError(
            f"{network.name}: no class of the published code computes it: in {made_by.name} of "
            f"{made_by.repository}, {', '.join(differences[nearest])}; export it as safetensors"
        )
    return PublishedForm(made_by, _arguments(subject))


def _differences(original: NetworkSpec, network: NetworkSpec) -> list[str]:
    """What the class of `original` cannot be told."""
    had, wanted = flat(original.model_dump()), flat(network.model_dump())
    had |= {key: wanted[key] for key in _FREE}
    ratios = network.windows.ratios
    if original.mixer.kind == "correlation":
        had |= {"windows.ratios": ratios, "mixer.position_width": network.width // 16}
    else:
        had["windows.ratios"] = ratios[:1] * len(ratios)  # one side for all windows
    return differing(had, wanted)


def _arguments(subject: ScaledNetwork) -> dict[str, Any]:
    network = subject.network
    base, window = network.windows.base, network.windows.sizes[0]
    is_correlation = network.mixer.kind == "correlation"
    windows: dict[str, Any] = {"window_size": window}
    if is_correlation:
        windows = {"base_win_size": [base, base], "hier_win_ratios": [*network.windows.ratios]}
    return {
        "upscale": subject.scale,
        "in_chans": 3,
        "img_size": TRAINING_PATCH if is_correlation else patch_side(window),
        "img_range": 1.0,
        **windows,
        "depths": [*network.depths],
        "embed_dim": network.width,
        "num_heads": [network.mixer.heads] * len(network.depths),
        "mlp_ratio": network.ffn.ratio,
        "drop_path_rate": network.stochastic_depth,
        "upsampler": _UPSAMPLERS[network.upsampler],
        "resi_connection": "1conv",
    }
