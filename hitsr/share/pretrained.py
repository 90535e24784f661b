"""Save and load networks with weights as folders in the layout of the Hugging Face hub.

A folder holds `model.safetensors` and `config.json`. Our config.json describes the whole network.
That of a published network (written by `PyTorchModelHubMixin`) holds the arguments of its authors'
class, and only the scale is read from it.
"""

from pathlib import Path
from typing import Any

from hitsr.base.errors import SpecError
from hitsr.base.files import write_text
from hitsr.base.reading import read_yaml
from hitsr.models.backbone import SuperResolver, create
from hitsr.models.checkpoints import load_weights, metadata_of, save_weights
from hitsr.specs.network import Formulation, NetworkSpec, ScaledNetwork
from hitsr.specs.zoo import find

WEIGHTS, CONFIG = "model.safetensors", "config.json"


def save_pretrained(model: SuperResolver, folder: Path) -> None:
    """Write `folder`/model.safetensors and config.json; `from_pretrained` reads them back."""
    save_weights(model, folder / WEIGHTS, metadata_of(model.subject))
    save_config(model, folder)


def save_config(model: SuperResolver, folder: Path) -> None:
    """Write `folder`/config.json: the full network spec and the scale."""
    write_text(folder / CONFIG, model.subject.to_json())


def from_pretrained(
    folder: Path | str,
    network: str | NetworkSpec | None = None,
    scale: int | None = None,
    *,
    formulation: Formulation = "fused",
) -> SuperResolver:
    """A network with its weights, in eval mode: (b, 3, h, w) in [0, 1] -> (b, 3, h*s, w*s).

    `folder` was written by `hitsr export` or published by the authors. The arguments `network` and
    `scale` give what config.json does not say. Raises SpecError if network or scale is given by
    neither or differently by both, and WeightsError if the weights do not fit.
    """
    folder = Path(folder)
    subject = _subject(folder, network, scale)
    model = create(subject.network, subject.scale, formulation=formulation)
    load_weights(model, folder / WEIGHTS)
    return model.eval()


def _subject(folder: Path, network: str | NetworkSpec | None, scale: int | None) -> ScaledNetwork:
    """Network and scale from config.json and the arguments together."""
    path = folder / CONFIG
    data = read_yaml(path)
    if not isinstance(data, dict):
        raise SpecError(f"{path}: holds {type(data).__name__}, not a network's settings")
    if isinstance(data.get("network"), dict):
        stored: dict[str, Any] = ScaledNetwork.parse(data, str(path)).model_dump()
    else:
        stored = {"network": None, "scale": data.get("upscale", data.get("scale"))}
    given = {"network": network and find(network).model_dump(), "scale": scale}
    merged = {key: _merged(path, key, stored[key], given[key]) for key in given}
    return ScaledNetwork.parse(merged, str(path))


def _merged(path: Path, key: str, stored: Any, given: Any) -> Any:
    """The value in config.json or the argument; SpecError if there is neither, or they differ."""
    if stored is None and given is None:
        raise SpecError(f"{path}: does not say the {key}; pass it as `{key}`")
    if None not in (stored, given) and stored != given:
        shown = [value["name"] if isinstance(value, dict) else value for value in (stored, given)]
        raise SpecError(
            f"{path}: {key} is {shown[0]}, but {shown[1]} was asked for; leave out `{key}`"
        )
    return given if stored is None else stored
