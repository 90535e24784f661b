"""How networks are called and paired: a family is a baseline beside its conversion."""

from typing import Literal, NamedTuple

from hitsr.plan.subjects import CONTROLS
from hitsr.specs.network import Formulation
from hitsr.specs.steps import Launch, Precision
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
BICUBIC, HR = CONTROLS
FORMULATIONS: dict[Formulation, str] = {
    "released": "as released",
    "paper": "step by step",
    "fused": "fused",
}

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
_DEVICES = {"cpu": "CPU", "cuda": "GPU"}
PRECISIONS: dict[Precision, str] = {
    "float32": "32-bit floats",
    "tf32": "TF32",
    "float16": "float16",
    "bfloat16": "bfloat16",
    "autocast": "autocast to bfloat16",
}
LAUNCHES: dict[Launch, str] = {"eager": "eager", "compiled": "compiled", "graph": "one launch"}


class Setup(NamedTuple):
    """How forwards are timed: "cpu", "fused"; a network that is not ours counts as fused."""

    device: str
    formulation: Formulation

    @property
    def words(self) -> str:
        """ "CPU, fused"."""
        return f"{device_name(self.device)}, {FORMULATIONS[self.formulation]}"

    @property
    def key(self) -> str:
        """In names of figures."""
        return f"{self.device}-{self.formulation}"

    @property
    def order(self) -> tuple[str, int]:
        """By device, then from the released formulation to the fastest."""
        return self.device, list(FORMULATIONS).index(self.formulation)


class Load(NamedTuple):
    """What a timed forward does, and how it is launched; by default, the usual."""

    batch: int = 1
    precision: Precision = "float32"
    launch: Launch = "eager"
    channels_last: bool = False

    @property
    def words(self) -> str:
        """ "batch 4, float16, one launch"; empty for the usual."""
        extras = {
            f"batch {self.batch}": self.batch > 1,
            PRECISIONS[self.precision]: self.precision != "float32",
            LAUNCHES[self.launch]: self.launch != "eager",
            "channels last": self.channels_last,
        }
        return ", ".join(name for name, is_on in extras.items() if is_on)


USUAL = Load()  # one eager forward of a picture of 32-bit floats


def device_name(device: str) -> str:
    """ "CPU"."""
    return _DEVICES.get(device, device)


def label(network: str) -> str:
    return _LABELS.get(network, network)


def short_label(network: str) -> str:
    """For figures, where SwinIR-Light is SwinIR-L, as in the paper's Table 2."""
    return label(network).replace("-Light", "-L")


def printed_name(method: str) -> str:
    """Our name of a network that the paper prints as SwinIR-L; any other method's as printed."""
    known = {short_label(name): name for name in _LABELS}
    return known.get(method, method)


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
