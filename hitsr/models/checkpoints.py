"""Weights on disk: our safetensors, and the published .pth layouts read into our names."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from hitsr.base.changes import flat
from hitsr.base.errors import SpecError, WeightsError
from hitsr.base.files import write_bytes
from hitsr.models.backbone import create
from hitsr.models.weight_files import WeightsFile, read_weights
from hitsr.specs.network import NetworkSpec, ScaledNetwork

# Published name -> ours, applied in turn.
_RENAMES = [
    # Wrappers of PyTorch's compiler and of its checkpointed and sharded modules.
    (r"(^|\.)(_orig_mod|_checkpoint_wrapped_module|_fsdp_wrapped_module)\.", r"\1"),
    (r"^conv_first\.", "first."),
    (r"^patch_embed\.norm\.", "first_norm."),
    (r"^norm\.", "last_norm."),
    (r"^conv_after_body\.", "last."),
    (r"^conv_before_upsample\.0\.", "upsample.narrow."),
    (r"^conv_last\.", "upsample.colours."),
    (r"^layers\.(\d+)\.conv\.", r"groups.\1.conv."),
    (r"^layers\.(\d+)\.residual_group\.blocks\.", r"groups.\1.blocks."),
    (r"\.(attn|correlation)\.", ".mixer."),
    (r"(\.mixer)?\.ngram_window_partition\.ngram_context\.", ".mixer.context."),
    (r"\.context\.unigram_embed\.", ".context.embed."),
    (r"\.context\.ngram_attn\.", ".context."),
    (r"\.relative_position_bias_table$", ".bias_table"),
    (r"\.qv\.conv\.0\.", ".features.squeeze."),
    (r"\.qv\.conv\.2\.", ".features.spatial."),
    (r"\.qv\.conv\.4\.", ".features.expand."),
    (r"\.qv\.linear\.", ".features.gate."),
    (r"\.spatial_linear\.", ".to_base."),
    (r"\.pos\.pos_proj\.", ".position.embed."),
    (r"\.pos\.pos1\.", ".position.layers.0."),
    (r"\.pos\.pos2\.", ".position.layers.1."),
    (r"\.pos\.pos3\.", ".position.layers.2."),
    (r"\.mlp\.dwconv\.depthwise_conv\.0\.", ".ffn.depthwise."),
    (r"\.mlp\.fc1\.", ".ffn.expand."),
    (r"\.mlp\.fc2\.", ".ffn.reduce."),
]
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
# Fields of a spec that do not change what its weights compute.
_NO_MATTER = {"name", "stochastic_depth"}


def load_weights(model: nn.Module, source: Path | str | Mapping[str, Any]) -> None:
    """Fill a network with weights, all of them and no others.

    `source` is a safetensors or PyTorch file, recognised by its content, or a state dict. Its
    names are ours or the published ones, with or without a prefix that all share (`module.`), plain
    or wrapped (`params`, `state_dict`, `model`, …); averaged weights (`params_ema`) are preferred.

    Raises WeightsError if the file says that its weights belong to another network or scale, if a
    tensor is not finite, or if the file cannot be read; else for missing, unknown and misshaped
    keys. The model is then unchanged.
    """
    model.load_state_dict(fitting_weights(model, source))


def fitting_weights(model: nn.Module, source: Path | str | Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights that `load_weights` would fill a network with; `model` may be on "meta"."""
    if isinstance(source, Mapping):
        where, (entries, said) = "state dict", WeightsFile(source, {})
    else:
        where, (entries, said) = str(source), read_weights(Path(source))
    _check_said(said, model, where)
    expected = model.state_dict()
    state = _ours(_without_prefix(unwrap(entries, where), expected), where)
    if problems := _differences(expected, state):
        raise WeightsError(
            f"{where}: weights of another network or scale than {_title(model)}:\n" + problems
        )
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


def unwrap(entries: Mapping[Any, Any], where: str) -> dict[str, Tensor]:
    """The named tensors of a checkpoint, which may hold them beside other things.

    Raises WeightsError if there are none, or several of which none has a usual name.
    """
    if not entries:
        return {}
    found = dict(_state_dicts(entries))
    for usual in (_is_averaged, _is_usual, lambda _: True):
        chosen = [names for names in found if usual(names)]
        if len(chosen) == 1:
            return dict(found[chosen[0]])
        if chosen:
            listed = ", ".join(".".join(names) for names in chosen[:5])
            raise WeightsError(f"{where}: holds several networks, {listed}; save one alone")
    others = list(_leaves(entries))
    trained = any(_OF_TRAINING.search(name) for name in others)
    advice = "; this is the state of a training: name the file of the weights" if trained else ""
    raise WeightsError(f"{where}: not named tensors: {', '.join(others[:5])}{advice}")


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
            yield from _leaves(value, f"{above}{key}.")
        elif not (isinstance(key, str) and isinstance(value, Tensor)):
            yield f"{above}{key}"


def _is_usual(names: tuple[str, ...]) -> bool:
    return any(name.lower().replace("-", "_") in _WRAPPERS for name in names)


def _is_averaged(names: tuple[str, ...]) -> bool:
    return any("ema" in re.split("[_-]", name.lower()) for name in names)


def _without_prefix(state: dict[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the prefix that all names share, such as `module.`, if they fit without it."""
    names = [name for name in state if not _is_computed(name)]
    shortened = names
    while not any(_our_name(name) in expected for name in shortened):
        if len({name.partition(".")[0] for name in shortened}) != 1 or "" in shortened:
            return state
        shortened = [name.partition(".")[2] for name in shortened]
    return {short: state[name] for short, name in zip(shortened, names, strict=True)}


def _is_computed(name: str) -> bool:
    return name.rpartition(".")[2] in _COMPUTED


def _our_name(published: str) -> str:
    for pattern, replacement in _RENAMES:
        published = re.sub(pattern, replacement, published)
    return published


def _ours(published: dict[str, Tensor], where: str) -> dict[str, Tensor]:
    """Rename published keys to ours and join SRFormer's q and kv layers; our keys stay."""
    state: dict[str, Tensor] = {}
    for key, value in published.items():
        if _is_computed(key):
            continue
        name = _our_name(key)
        if name in state:
            raise WeightsError(f"{where}: {key} is {name} for a second time")
        _check_numbers(key, value, where)
        state[name] = value
    for key in [key for key in state if ".mixer.kv." in key]:
        q_key, joined = key.replace(".kv.", ".q."), key.replace(".kv.", ".qkv.")
        if q_key in state and state[q_key].shape[1:] == state[key].shape[1:]:
            state[joined] = torch.cat([state.pop(q_key), state.pop(key)])
    return state


def _check_numbers(key: str, value: Tensor, where: str) -> None:
    if value.is_meta or value.is_sparse or not value.is_floating_point():
        kind = "no values" if value.is_meta else f"{value.layout} {value.dtype}"
        raise WeightsError(f"{where}: {key} holds {kind}, not plain floats; save it as such")
    if not value.float().isfinite().all():
        raise WeightsError(f"{where}: {key} is not finite: the weights diverged or are damaged")


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
    pair = [flat(network.model_dump(exclude=_NO_MATTER)) for network in (stored, wanted)]
    return ", ".join(
        f"{key} is {pair[0].get(key)}, not {pair[1].get(key)}"
        for key in dict.fromkeys([*pair[0], *pair[1]])
        if pair[0].get(key) != pair[1].get(key)
    )


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
    return "; ".join(keys[:most]) + rest


def _title(model: nn.Module) -> str:
    network, scale = getattr(model, "network", None), getattr(model, "scale", None)
    return f"{network.name} x{scale}" if network is not None else type(model).__name__
