"""Weights on disk: our safetensors, and the published .pth layouts read into our names."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from hitsr.base.errors import WeightsError
from hitsr.base.files import write_bytes

# Published name -> ours, applied in turn.
_RENAMES = [
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
# Indices and masks that published checkpoints contain and that are computed here.
_COMPUTED = ("attn_mask", "relative_position_index", "aligned_relative_position_index")
_WRAPPERS = ("params_ema", "params")


def load_weights(model: nn.Module, source: Path | str | Mapping[str, Any]) -> None:
    """Fill a network with weights, all of them and no others.

    `source` is a .safetensors or .pth file or a state dict, with our names or the published ones,
    plain or wrapped in `params_ema` (preferred) or `params`. Raises WeightsError that names
    missing, unknown and misshaped keys, or says why the file cannot be read; the model is then
    unchanged.
    """
    where = "state dict" if isinstance(source, Mapping) else str(source)
    state = _unwrap(source if isinstance(source, Mapping) else _read(Path(source)), where)
    state = _ours(state, where)
    problems = _differences(model.state_dict(), state)
    if problems:
        raise WeightsError(
            f"{where}: weights of another network or scale than {_title(model)}:\n" + problems
        )
    model.load_state_dict(state)


def save_weights(model: nn.Module, path: Path, metadata: dict[str, str]) -> None:
    """Write a state dict as safetensors, atomically; equal weights give equal bytes."""
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    write_bytes(path, save(state, metadata))


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise WeightsError(f"{path}: not a safetensors file: {error}") from None
    except Exception as error:  # torch raises anything from UnpicklingError to RuntimeError
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise WeightsError(
            f"{path}: not a checkpoint of tensors alone ({reason}); "
            "other pickled objects are refused because loading them runs code"
        ) from None
    if not isinstance(loaded, Mapping):
        raise WeightsError(f"{path}: holds {type(loaded).__name__}, not a state dict")
    return loaded


def _unwrap(state: Mapping[str, Any], where: str) -> dict[str, Tensor]:
    for wrapper in _WRAPPERS:
        if isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
            break
    strangers = [
        key
        for key, value in state.items()
        if not (isinstance(key, str) and isinstance(value, Tensor))
    ]
    if strangers:
        raise WeightsError(f"{where}: not named tensors: {', '.join(map(str, strangers[:5]))}")
    return dict(state)


def _ours(published: dict[str, Tensor], where: str) -> dict[str, Tensor]:
    """Rename published keys to ours and join SRFormer's q and kv layers; our keys stay."""
    state: dict[str, Tensor] = {}
    for key, value in published.items():
        if key.rsplit(".", 1)[-1] in _COMPUTED:
            continue
        name = key
        for pattern, replacement in _RENAMES:
            name = re.sub(pattern, replacement, name)
        if name in state:
            raise WeightsError(f"{where}: {key} is {name} for a second time")
        state[name] = value
    for key in [key for key in state if ".mixer.kv." in key]:
        q_key, joined = key.replace(".kv.", ".q."), key.replace(".kv.", ".qkv.")
        if q_key in state and state[q_key].shape[1:] == state[key].shape[1:]:
            state[joined] = torch.cat([state.pop(q_key), state.pop(key)])
    return state


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
