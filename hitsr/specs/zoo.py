"""The six networks of the paper as values, and classical networks and their conversions."""

from hitsr.base.errors import SpecError, did_you_mean, shortened
from hitsr.specs.convert import to_hierarchical
from hitsr.specs.network import Ffn, NetworkSpec, Ngram, PermutedAttention, WindowAttention, Windows

SWINIR_LIGHT = NetworkSpec(name="swinir_light", mixer=WindowAttention(), stochastic_depth=0.1)
SWINIR_NG = NetworkSpec(name="swinir_ng", mixer=WindowAttention(), context=Ngram())
SRFORMER_LIGHT = NetworkSpec(
    name="srformer_light",
    mixer=PermutedAttention(),
    ffn=Ffn(kind="conv"),
    windows=Windows(base=16),
    stochastic_depth=0.1,
)

NETWORKS: dict[str, NetworkSpec] = {
    "swinir_light": SWINIR_LIGHT,
    "swinir_ng": SWINIR_NG,
    "srformer_light": SRFORMER_LIGHT,
    "hit_sir": to_hierarchical(SWINIR_LIGHT, name="hit_sir"),
    "hit_sng": to_hierarchical(SWINIR_NG, name="hit_sng"),
    "hit_srf": to_hierarchical(SRFORMER_LIGHT, name="hit_srf"),
}

# Classical networks, three times as wide: SwinIR-M and SRFormer, as trained on DIV2K.
SWINIR_M = SWINIR_LIGHT.patch(
    {"name": "swinir_m", "depths": [6] * 6, "width": 180, "upsampler": "two_stage"}
)
SRFORMER = SRFORMER_LIGHT.patch(
    {
        "name": "srformer",
        "depths": [6] * 6,
        "width": 180,
        "windows.base": 24,
        "upsampler": "two_stage",
    }
)
OTHERS: dict[str, NetworkSpec] = {
    network.name: network
    for network in (SWINIR_M, to_hierarchical(SWINIR_M), SRFORMER, to_hierarchical(SRFORMER))
}

# Each conversion of the paper, with its baseline.
BASELINE = {"hit_sir": "swinir_light", "hit_sng": "swinir_ng", "hit_srf": "srformer_light"}


def find(name_or_spec: str | NetworkSpec) -> NetworkSpec:
    """The network of that name, or the spec itself; SpecError names the nearest known name."""
    if isinstance(name_or_spec, NetworkSpec):
        return name_or_spec
    known = {**NETWORKS, **OTHERS}
    if name_or_spec not in known:
        raise SpecError(
            f"no network {shortened(name_or_spec)}; {did_you_mean(name_or_spec, known)}"
        )
    return known[name_or_spec]
