"""One step of training, kernel by kernel or, on a GPU, as one launch of a CUDA graph.

Shapes: b patches of a batch, p and q sides of an LR and an HR patch.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hitsr.runtime.capture_rules import CaptureError
from hitsr.runtime.graphs import WARM_UPS, Captured, capture, is_capturing
from hitsr.specs.recipe import Recipe


class TrainingStep:
    """Trains a network by one batch at a time: forward, L1 loss, backward, Adam.

    With `graph`, the first WARM_UPS steps are launched kernel by kernel, and the others repeat a
    graph of the last of these; both give the same numbers. If that step cannot be captured, `tell`
    is called with the reason, and all steps are launched kernel by kernel.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        device: torch.device,
        graph: bool,
        tell: Callable[[str], None],
    ) -> None:
        on_gpu = device.type == "cuda"
        # A graph repeats the numbers that it was captured with, but reads memory anew.
        rate_in_memory = on_gpu or graph
        self._model, self._parameters = model, list(model.parameters())
        self._optimizer = torch.optim.Adam(
            self._parameters, betas=recipe.betas, fused=True, capturable=rate_in_memory
        )
        if rate_in_memory:
            exact = torch.float32 if on_gpu else torch.float64  # as the kernels read it
            self._optimizer.param_groups[0]["lr"] = torch.zeros((), dtype=exact, device=device)
        self._generator = _generator(device)
        self._graph, self._tell = graph, tell
        self._taken = 0
        self._captured: Captured[Tensor] | None = None
        self._problem: str | None = None

    @property
    def is_captured(self) -> bool:
        """Whether steps now repeat a graph."""
        return self._captured is not None

    @property
    def problem(self) -> str | None:
        """Why steps repeat no graph, if they should."""
        if self._graph and not self.is_captured:
            return self._problem or f"only {self._taken} steps were taken"
        return None

    def set_learning_rate(self, rate: float) -> None:
        """The learning rate of the steps from now on."""
        group = self._optimizer.param_groups[0]
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate

    def __call__(self, lr: Tensor, hr: Tensor) -> Tensor:
        """Take a step on LR (b, 3, p, p) and HR (b, 3, q, q); the loss, (), stays on the device.

        All batches have the shapes of the first.
        """
        if self._captured is not None:
            return self._captured.replay(lr, hr)
        self._taken += 1
        if self._graph and self._taken == WARM_UPS:
            return self._captured_step(lr, hr)
        return self._step(lr, hr)

    def _step(self, lr: Tensor, hr: Tensor) -> Tensor:
        """On a GPU nothing here waits for it, and no kernel is chosen by values that are on it."""
        loss = F.l1_loss(self._model(lr), hr)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        # Fused Adam does not count its changes, by which caches tell old weights from new ones.
        torch.autograd.graph.increment_version(self._parameters)
        return loss.detach()

    def _captured_step(self, lr: Tensor, hr: Tensor) -> Tensor:
        """Take a step, and capture its kernels after it."""
        losses: list[Tensor] = []

        def step(lr: Tensor, hr: Tensor) -> Tensor:
            loss = self._step(lr, hr)
            if not is_capturing():
                losses.append(loss)
            return loss

        random = self._generator.get_state()
        try:
            self._captured = capture(step, (lr, hr), warm_ups=1)
        except CaptureError as error:
            self._problem = str(error)
            self._tell(f"steps are launched kernel by kernel, not as a CUDA graph: {error}")
            if not losses:  # the step was given up before it changed weights
                self._generator.set_state(random)
                return self._step(lr, hr)
        return losses[0]


def _generator(device: torch.device) -> torch.Generator:
    """The generator of random numbers on a device, such as those of stochastic depth."""
    if device.type == "cuda":
        return torch.cuda.default_generators[device.index or 0]
    return torch.default_generator
