"""Weights on disk: our safetensors, and checkpoints with the published names."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from hitsr.base.changes import differing, flat
from hitsr.base.errors import SpecError, WeightsError, cut, shortened
from hitsr.base.files import write_bytes
from hitsr.models.backbone import create
from hitsr.models.published_names import published_names
from hitsr.models.weight_files import WeightsFile, read_weights
from hitsr.specs.network import NetworkSpec, ScaledNetwork

# Parts of names from PyTorch's compiler and its checkpointed and sharded modules.
_WRAPPED = re.compile(r"(?<![^.])(_orig_mod|_checkpoint_wrapped_module|_fsdp_wrapped_module)\.")
# Indices and masks that published checkpoints contain and that are computed here, and the count of
# PyTorch's averaged models.
_COMPUTED = (
    "attn_mask",
    "relative_position_index",
    "aligned_relative_position_index",
    "n_averaged",
)
# Names under which checkpoints hold the weights; averaged ones (`params_ema`) are preferred.
_WRAPPERS = {
    "params", "state_dict", "model_state_dict", "model_state", "model", "module", "network", "net",
    "net_g", "netg", "generator", "g", "weights",
}  # fmt: skip
_OF_TRAINING = re.compile(r"optim|sched|param_groups", re.IGNORECASE)
_KAIR_OPTIMIZER = re.compile(r"(\d+)_optimizerG\.pth$")
# Fields of a spec that do not change what its weights compute.
_NO_MATTER = {"name", "stochastic_depth"}


def load_weights(
    model: nn.Module,
    source: Path | str | Mapping[str, Any],
    tell: Callable[[str], None] | None = None,
) -> None:
    """Fill a network with weights, all of them and no others; they become of its dtype.

    `source` is a safetensors or PyTorch file, recognised by its content, or a state dict. Its
    names are ours or the published ones, with or without a prefix that all share (`module.`), plain
    or wrapped (`params`, `state_dict`, `model`, …); averaged weights (`params_ema`) are preferred.
    `tell` is called with a line that says so if there are also others.

    Raises WeightsError if the file says that its weights belong to another network or scale, if a
    tensor is not finite, or if the file cannot be read; else for missing, unknown and misshaped
    keys. The model is then unchanged.
    """
    model.load_state_dict(fitting_weights(model, source, tell))


def fitting_weights(
    model: nn.Module,
    source: Path | str | Mapping[str, Any],
    tell: Callable[[str], None] | None = None,
) -> dict[str, Tensor]:
    """The weights that `load_weights` would fill a network with; `model` may be on "meta"."""
    if isinstance(source, Mapping):
        where, (entries, said) = "state dict", WeightsFile(source, {})
    else:
        where, (entries, said) = str(source), read_weights(Path(source))
    _check_said(said, model, where)
    expected, network = model.state_dict(), getattr(model, "network", None)
    names = {
        name: published_names(network, name) if isinstance(network, NetworkSpec) else (name,)
        for name in expected
    }
    found, choice = _unwrapped(entries, where)
    state = _ours(_without_prefix(_without_wrappers(found, where), names), names, where)
    if problems := _differences(expected, state):
        raise WeightsError(
            f"{where}: weights of another network or scale than {_title(model)}:\n" + problems
        )
    if choice and tell:
        tell(f"{where}: {choice}")
    return state


def check_weights(subject: ScaledNetwork, path: Path) -> None:
    """Raise WeightsError if `load_weights` would; builds no network in memory."""
    with torch.device("meta"):
        model = create(subject.network, subject.scale)
    fitting_weights(model, path)


def save_weights(model: nn.Module, path: Path, metadata: dict[str, str]) -> None:
    """Write a state dict as safetensors, atomically; equal weights give equal bytes."""
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    write_bytes(path, save(state, metadata))


def metadata_of(subject: ScaledNetwork, **facts: object) -> dict[str, str]:
    """Metadata for `save_weights` that name the network and scale; `load_weights` checks them."""
    # One key, since safetensors writes several in random order.
    return {"hitsr": json.dumps(subject.model_dump(mode="json") | facts)}


def _unwrapped(entries: Mapping[Any, Any], where: str) -> tuple[Mapping[str, Tensor], str]:
    """The named tensors of a checkpoint, which may hold them beside other things.

    Also says which were taken, if there are several. Raises WeightsError if there are none, or
    several of which none has a usual name.
    """
    found = dict(_state_dicts(entries))
    named = {names: ".".join(names) for names in found}
    for usual in (_is_averaged, _is_usual, lambda _: True):
        chosen = [names for names in found if usual(names)]
        if len(chosen) == 1:
            others = [cut(name) for names, name in named.items() if names != chosen[0]]
            said = f"takes {cut(named[chosen[0]])}, not {_some(others)}" if others else ""
            return found[chosen[0]], said
        if chosen:
            listed = ", ".join(cut(named[names]) for names in chosen[:5])
            raise WeightsError(f"{where}: holds several networks, {listed}; save one alone")
    if not entries:
        return {}, ""
    leaves = list(_leaves(entries))
    raise WeightsError(
        f"{where}: not named tensors: {', '.join(leaves[:5])}{_instead(entries, leaves, where)}"
    )


def _instead(entries: Mapping[Any, Any], leaves: list[str], where: str) -> str:
    """What to name in place of the state of a training, if that is what these entries are."""
    if not any(_OF_TRAINING.search(name) for name in leaves):
        return ""
    advice = "name the file of the weights"
    if isinstance(step := entries.get("iter"), int):
        advice += f", in BasicSR models/net_g_{step}.pth of the same experiment"
    elif numbered := _KAIR_OPTIMIZER.search(where):
        advice += f", in KAIR {numbered[1]}_E.pth (averaged) or {numbered[1]}_G.pth"
    return f"; this is the state of a training: {advice}"


def _state_dicts(
    entries: Mapping[Any, Any], above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Mapping[str, Tensor]]]:
    """All mappings of names to tensors and nothing else, by the names that lead to them."""
    if all(isinstance(k, str) and isinstance(v, Tensor) for k, v in entries.items()):
        if entries:
            yield above, entries
        return
    for key, value in entries.items():
        # Integers are the parameters in an optimiser's state, whose tensors are no weights.
        if isinstance(key, str) and isinstance(value, Mapping):
            yield from _state_dicts(value, (*above, key))


def _leaves(entries: Mapping[Any, Any], above: str = "") -> Iterator[str]:
    """Dotted names of what is no named tensor."""
    for key, value in entries.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{above}{_said(key)}.")
        elif not (isinstance(key, str) and isinstance(value, Tensor)):
            yield f"{above}{_said(key)}"


def _said(key: object) -> str:
    return cut(key) if isinstance(key, str) else shortened(key)


def _is_usual(names: tuple[str, ...]) -> bool:
    return any(name.lower().replace("-", "_") in _WRAPPERS for name in names)


def _is_averaged(names: tuple[str, ...]) -> bool:
    return any("ema" in re.split("[_-]", name.lower()) for name in names)


def _without_wrappers(state: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """By names without the parts that PyTorch's wrappers add."""
    plain: dict[str, Tensor] = {}
    for name, value in state.items():
        if (short := _WRAPPED.sub("", name)) in plain:
            raise _twice(where, name, short)
        plain[short] = value
    return plain


def _without_prefix(
    state: dict[str, Tensor], expected: Mapping[str, tuple[str, ...]]
) -> dict[str, Tensor]:
    """Without the prefix that all names share, such as `module.`, if they fit without it."""
    known = {*expected, *chain.from_iterable(expected.values())}
    names = [name for name in state if not _is_computed(name)]
    shortened = names
    while known.isdisjoint(shortened):
        if len({name.partition(".")[0] for name in shortened}) != 1 or "" in shortened:
            return state
        shortened = [name.partition(".")[2] for name in shortened]
    return {short: state[name] for short, name in zip(shortened, names, strict=True)}


def _is_computed(name: str) -> bool:
    return name.rpartition(".")[2] in _COMPUTED


def _ours(
    state: Mapping[str, Tensor], expected: Mapping[str, tuple[str, ...]], where: str
) -> dict[str, Tensor]:
    """By our names, joined where they are in parts; what is not expected keeps its name."""
    left = {name: value for name, value in state.items() if not _is_computed(name)}
    for name, value in left.items():
        _check_numbers(name, value, where)
    ours: dict[str, Tensor] = {}
    for name, published in expected.items():
        parts = [left[each] for each in published if each in left]
        if name in left and parts and published != (name,):
            raise _twice(where, published[0], name)
        if name in left:
            ours[name] = left.pop(name)
        elif len(parts) == len(published) and len({part.shape[1:] for part in parts}) == 1:
            ours[name] = parts[0] if len(parts) == 1 else torch.cat(parts)
            for each in published:
                del left[each]
    return ours | left


def _twice(where: str, name: str, meant: str) -> WeightsError:
    return WeightsError(f"{where}: {cut(name)} is {cut(meant)} for a second time")


def _check_numbers(key: str, value: Tensor, where: str) -> None:
    if value.is_meta or value.is_sparse or not value.is_floating_point():
        kind = "no values" if value.is_meta else f"{value.layout} {value.dtype}"
        raise WeightsError(f"{where}: {cut(key)} holds {kind}, not plain floats; save it as such")
    if not value.float().isfinite().all():
        raise WeightsError(
            f"{where}: {cut(key)} is not finite: the weights diverged or are damaged"
        )


def _check_said(said: Mapping[str, Any], model: nn.Module, where: str) -> None:
    """Raise WeightsError if a file says that its weights belong to another network or scale.

    Shapes do not tell: shifted windows, norms, means and softmax have no weights.
    """
    network, scale = getattr(model, "network", None), getattr(model, "scale", None)
    if not said or not isinstance(network, NetworkSpec):
        return
    named, known_scale, difference = said.get("network"), said.get("scale"), ""
    if isinstance(named, dict):
        try:
            stored = ScaledNetwork.parse({"network": named, "scale": known_scale}, where)
        except SpecError as error:
            raise WeightsError(f"{error}; its metadata are damaged or of a newer hitsr") from None
        named, difference = stored.network.name, _difference(stored.network, network)
        is_same = not difference
    else:
        is_same = named == network.name
    if not is_same or known_scale != scale:
        raise WeightsError(
            f"{where}: weights of {named} x{known_scale}, not of {_title(model)}"
            f"{f' ({difference})' if difference else ''}; correct the network or the scale"
        )


def _difference(stored: NetworkSpec, wanted: NetworkSpec) -> str:
    """The first fields in which two networks compute differently: "width is 24, not 60"."""
    one, other = (flat(network.model_dump(exclude=_NO_MATTER)) for network in (stored, wanted))
    return ", ".join(differing(one, other))


def _differences(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    shapes = [
        f"{key} is {tuple(found[key].shape)}, expected {tuple(expected[key].shape)}"
        for key in expected
        if key in found and found[key].shape != expected[key].shape
    ]
    parts = {
        "missing": [key for key in expected if key not in found],
        "unknown": [key for key in found if key not in expected],
        "misshaped": shapes,
    }
    return "\n".join(f"  {name}: {_some(keys)}" for name, keys in parts.items() if keys)


def _some(keys: list[str], most: int = 8) -> str:
    rest = f" and {len(keys) - most} more" if len(keys) > most else ""
    return "; ".join(map(cut, keys[:most])) + rest


def _title(model: nn.Module) -> str:
    network, scale = getattr(model, "network", None), getattr(model, "scale", None)
    return f"{network.name} x{scale}" if network is not None else type(model).__name__
