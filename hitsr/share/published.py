"""Export weights as the published code saves its own, which it loads with `strict=True`."""

from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hitsr.base.files import write_bytes
from hitsr.models.backbone import SuperResolver, create
from hitsr.models.published_names import published_names
from hitsr.specs.published import published_form


def save_published(model: SuperResolver, path: Path, is_average: bool) -> None:
    """Write a .pth with the published names, which the published code loads strictly.

    As BasicSR does, it holds the weights as `params`; if they are an average, also as `params_ema`,
    which option files may name. SwinIR-NG's own code knows neither: its file holds them plainly.
    Raises SpecError if the published code has no such network.
    """
    made_by = published_form(model.subject).made_by
    content: dict[str, Any] = published_state(model)
    if made_by.in_basicsr:
        keys = ["params", "params_ema"] if is_average else ["params"]
        content = dict.fromkeys(keys, content)
    buffer = BytesIO()
    torch.save(content, buffer)
    write_bytes(path, buffer.getvalue())


def published_state(model: SuperResolver) -> dict[str, Tensor]:
    """Weights by published names, with the indices and masks that published files hold beside them.

    Shapes and types are those of the published code's state dict.
    """
    network = model.network
    released = create(network, model.scale, formulation="released")
    buffers = {
        name: value
        for name, value in released.named_buffers()
        if name.endswith((".bias_index", ".patch_mask"))
    }
    state: dict[str, Tensor] = {}
    for name, value in (model.state_dict() | buffers).items():
        names = published_names(network, name)
        # Where there are two, the first is of SRFormer's queries, as wide as the network.
        parts = (
            [value] if len(names) == 1 else value.split((network.width, len(value) - network.width))
        )
        state |= {
            each: part.detach().cpu().clone() for each, part in zip(names, parts, strict=True)
        }
    return state
