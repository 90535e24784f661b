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
        self._good = torch.zeros((), device=device)  # steps since the last change

    @property
    def state(self) -> dict[str, Tensor]:
        """What is kept in a checkpoint, by name; changed in place."""
        return {"value": self.value, "good": self._good}

    def adapt(self, bad: Tensor) -> None:
        """Choose the scale of the next step, in place; `bad` is 1 if this one's was too large."""
        self._good.add_(1).mul_(1 - bad)
        is_due = self._good == _INTERVAL
        growth = torch.where(is_due, _GROWTH, 1.0)
        self.value.mul_(torch.where(bad > 0, _BACKOFF, growth))
        self._good.mul_(~is_due)
