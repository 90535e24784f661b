"""The factor by which a loss is multiplied, so that gradients in float16 do not vanish."""

import torch
from torch import Tensor

# As in torch.amp.GradScaler, whose own steps wait for the device.
HALVINGS = 16  # of the first scale to 1
_FIRST, _GROWTH, _BACKOFF, _INTERVAL = 2.0**HALVINGS, 2.0, 0.5, 2000


class LossScale:
    """Halved after a step whose gradient was not finite, doubled after 2000 others in a row."""

    def __init__(self, device: torch.device) -> None:
        self.value = torch.tensor(_FIRST, device=device)
        # Steps since the last change.
        self._good = torch.zeros((), dtype=torch.int32, device=device)

    @property
    def state(self) -> dict[str, Tensor]:
        """What is kept in a checkpoint, by name; changed in place."""
        return {"value": self.value, "good": self._good}

    def adapt(self, bad: Tensor) -> None:
        """Choose the scale of the next step, in place; `bad` is 1 if this one's was too large."""
        torch._amp_update_scale_(self.value, self._good, bad, _GROWTH, _BACKOFF, _INTERVAL)
