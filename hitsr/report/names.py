"""How networks are called and paired: a family is a baseline beside its conversion."""

from typing import Literal, NamedTuple

from hitsr.specs.zoo import BASELINE

Role = Literal["baseline", "conversion", "control", "quoted"]


class Family(NamedTuple):
    """A baseline and its conversion: one hue, one shape, one key in style sheet and palette."""

    key: str
    baseline: str
    conversion: str

    @property
    def networks(self) -> tuple[str, str]:
        return self.baseline, self.conversion


FAMILIES = tuple(
    Family(conversion.removeprefix("hit_"), baseline, conversion)
    for conversion, baseline in BASELINE.items()
)

BICUBIC = "bicubic"
HR = "hr"
CONTROLS = (BICUBIC, HR)  # the least a network should reach, and the most it could

_LABELS = {
    BICUBIC: "Bicubic",
    HR: "HR",
    "swinir_light": "SwinIR-Light",
    "swinir_ng": "SwinIR-NG",
    "srformer_light": "SRFormer-Light",
    "hit_sir": "HiT-SIR",
    "hit_sng": "HiT-SNG",
    "hit_srf": "HiT-SRF",
}


def label(network: str) -> str:
    return _LABELS.get(network, network)


def short_label(network: str) -> str:
    """For figures, where SwinIR-Light is SwinIR-L, as in the paper's Table 2."""
    return label(network).replace("-Light", "-L")


def family_of(network: str) -> Family | None:
    return next((family for family in FAMILIES if network in family.networks), None)


def family_key(network: str) -> str:
    """The style key of a network; "ctl" for bicubic and what belongs to no family."""
    family = family_of(network)
    return family.key if family else "ctl"


def role_of(network: str) -> Role:
    family = family_of(network)
    if family is None:
        return "control"
    return "conversion" if network == family.conversion else "baseline"


def method_of(run: str) -> str:
    """The network of hit_sir-x2-s1, the control of bicubic-x2."""
    return run.rpartition("-x")[0]
