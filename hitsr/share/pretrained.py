"""Networks with their weights as folders, laid out as the Hugging Face hub expects.

`model.safetensors` and `config.json`; ours says the whole network, a published one (PyTorch's
`PyTorchModelHubMixin`) the arguments of its authors' class, of which only the scale is read.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from hitsr.base.errors import SpecError, WeightsError
from hitsr.base.files import write_text
from hitsr.base.values import read_yaml
from hitsr.models.backbone import SuperResolver, create
from hitsr.models.checkpoints import load_weights, save_weights
from hitsr.specs.network import Formulation, NetworkSpec, ScaledNetwork
from hitsr.specs.zoo import find

WEIGHTS, CONFIG = "model.safetensors", "config.json"


def save_pretrained(model: SuperResolver, folder: Path) -> None:
    """Write `folder`/model.safetensors and config.json; `from_pretrained` reads them back."""
    # One key, since safetensors writes several in random order.
    facts = {"network": model.network.name, "scale": model.scale}
    save_weights(model, folder / WEIGHTS, {"hitsr": json.dumps(facts)})
    save_config(model, folder)


def save_config(model: SuperResolver, folder: Path) -> None:
    """Write `folder`/config.json: the network, every value explicit, and its scale."""
    write_text(folder / CONFIG, ScaledNetwork(network=model.network, scale=model.scale).to_json())


def from_pretrained(
    folder: Path | str,
    network: str | NetworkSpec | None = None,
    scale: int | None = None,
    *,
    formulation: Formulation = "fused",
) -> SuperResolver:
    """A network with its weights, in eval mode: (b, 3, h, w) in [0, 1] -> (b, 3, h*s, w*s).

    `folder` is one of `hitsr export`, or a published one, whose config.json may leave the network
    or the scale to the arguments. Raises SpecError if neither says it or they disagree, and
    WeightsError if the weights do not fit.
    """
    folder = Path(folder)
    subject = _subject(folder, network, scale)
    model = create(subject.network, subject.scale, formulation=formulation)
    load_weights(model, folder / WEIGHTS)
    return model.eval()


def check_claim(weights: Path, subject: ScaledNetwork) -> None:
    """Raise WeightsError if a safetensors file of ours says that it is of another network."""
    claimed = _facts(weights)
    found = {key: claimed.get(key) for key in ("network", "scale")}
    if claimed and found != {"network": subject.network.name, "scale": subject.scale}:
        raise WeightsError(
            f"{weights}: weights of {found['network']} x{found['scale']}, not of {subject.name}; "
            "mend --network or --scale"
        )


def _facts(weights: Path) -> Mapping[str, Any]:
    """What hitsr wrote into a safetensors file's header; empty for any other file."""
    if weights.suffix != ".safetensors":
        return {}
    try:
        with safe_open(weights, framework="numpy") as file:
            facts = json.loads((file.metadata() or {}).get("hitsr", "{}"))
    except (SafetensorError, OSError, ValueError):
        return {}  # load_weights says what is wrong with it
    return facts if isinstance(facts, dict) else {}


def _subject(folder: Path, network: str | NetworkSpec | None, scale: int | None) -> ScaledNetwork:
    path = folder / CONFIG
    data = read_yaml(path)
    if not isinstance(data, dict):
        raise SpecError(f"{path}: holds {type(data).__name__}, not a network's settings")
    if isinstance(data.get("network"), dict):
        said: dict[str, Any] = ScaledNetwork.parse(data, str(path)).model_dump()
    else:
        said = {"network": None, "scale": data.get("upscale", data.get("scale"))}
    asked = {"network": network and find(network).model_dump(), "scale": scale}
    both = {key: _agreed(path, key, said[key], asked[key]) for key in asked}
    return ScaledNetwork.parse(both, str(path))


def _agreed(path: Path, key: str, said: Any, asked: Any) -> Any:
    if said is None and asked is None:
        raise SpecError(f"{path}: does not say the {key}; pass it as `{key}`")
    if None not in (said, asked) and said != asked:
        shown = [value["name"] if isinstance(value, dict) else value for value in (said, asked)]
        raise SpecError(f"{path}: {key} is {shown[0]}, but {shown[1]} was asked for; drop one")
    return asked if said is None else said
