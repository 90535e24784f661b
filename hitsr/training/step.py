"""One step of training, kernel by kernel or, on a GPU, as one launch of a CUDA graph.

Shapes: b patches of the parts of a batch that a process computes, p and q sides of an LR and an HR
patch, n values that learn.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hitsr.base.seeds import derive
from hitsr.runtime.capture_rules import CaptureError
from hitsr.runtime.graphs import WARM_UPS, Captured, capture, is_capturing
from hitsr.specs.recipe import Recipe
from hitsr.training.loss_scale import LossScale
from hitsr.training.processes import ALONE, Processes
from hitsr.training.schedule import learning_rate
from hitsr.training.start import UPSAMPLER

Work = Callable[[Tensor, Tensor], Tensor]  # on LR and HR patches

# Prefixes of names in a checkpoint.
_WEIGHT, _AVERAGE, _SCALE = "weight/", "average/", "scale/"
_ADAM = ("step", "exp_avg", "exp_avg_sq")  # as Adam calls what it keeps of each parameter


class TrainingStep:
    """Trains a network by one batch at a time: forward, L1 loss, backward, Adam, average.

    A step whose loss or gradient is not finite changes no weights, towards which the average goes
    on moving. Random numbers of a step, such as those of stochastic depth, depend on `seed`, the
    step and the part of the batch alone.

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
        *,
        seed: int = 0,
        processes: Processes = ALONE,
    ) -> None:
        self.taken = 0  # steps, those before a checkpoint included
        self._model, self._recipe, self._seed = model, recipe, seed
        self._processes, self._share = processes, processes.share(recipe.parts)
        self._parameters = dict(model.named_parameters())
        self._average = (
            {name: each.detach().clone() for name, each in self._parameters.items()}
            if recipe.ema is not None
            else {}
        )
        self._scale = LossScale(device) if recipe.precision == "float16" else None
        self._optimizer = _adam(self._parameters, recipe, device, graph)
        self._graph, self._tell = graph, tell
        self._launched = 0  # steps since all that can be captured has been the same
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
            return self._problem or f"only {self._launched} steps were taken"
        return None

    @contextmanager
    def with_result(self) -> Iterator[None]:
        """Inside the block the network has the weights that training is for.

        These are the averages, if the recipe wants them.
        """
        own = {name: self._parameters[name].detach().clone() for name in self._average}
        self._put(self._average)
        try:
            yield
        finally:
            self._put(own)

    @torch.no_grad()
    def _put(self, weights: Mapping[str, Tensor]) -> None:
        for name, value in weights.items():
            self._parameters[name].copy_(value)

    def state(self) -> dict[str, Tensor]:
        """All that the next steps depend on, on the CPU, by name."""
        found: dict[str, Tensor] = {
            f"{_WEIGHT}{name}": each for name, each in self._parameters.items()
        }
        found |= {f"{_AVERAGE}{name}": each for name, each in self._average.items()}
        for (name, parameter), kept in product(self._parameters.items(), _ADAM):
            if parameter in self._optimizer.state:
                found[f"{kept}/{name}"] = self._optimizer.state[parameter][kept]
        if self._scale is not None:
            found |= {f"{_SCALE}{name}": each for name, each in self._scale.state.items()}
        return {name: each.detach().to("cpu", copy=True) for name, each in found.items()}

    def load(self, state: Mapping[str, Tensor], taken: int) -> None:
        """Go on from the state after `taken` steps."""
        adam = self._optimizer.state_dict()
        places: list[tuple[str, Tensor]]
        places = [(f"{_WEIGHT}{name}", each) for name, each in self._parameters.items()]
        places += [(f"{_AVERAGE}{name}", each) for name, each in self._average.items()]
        if self._scale is not None:
            places += [(f"{_SCALE}{name}", each) for name, each in self._scale.state.items()]
        with torch.no_grad():
            for name, place in places:
                place.copy_(state[name])
        for number, name in enumerate(self._parameters):
            kept = {kept: state[f"{kept}/{name}"] for kept in _ADAM if f"{kept}/{name}" in state}
            if kept:
                adam["state"][number] = kept
        self._optimizer.load_state_dict(adam)
        self.taken = taken

    def __call__(self, lr: Tensor, hr: Tensor) -> Tensor:
        """Take a step on LR (b, 3, p, p) and HR (b, 3, q, q).

        All batches have the shapes of the first. Returns the mean loss of the whole batch, and 1 if
        it or its gradient was not finite, else 0: (2,), which stays on the device.
        """
        self.taken += 1
        self._begin_phase()
        self._set_learning_rate(learning_rate(self._recipe, self.taken))
        self._launched += 1
        if self._is_whole:
            return self._launch(self._whole_step, lr, hr, self._share[0])
        return self._step_of_parts(lr, hr)

    @property
    def _is_whole(self) -> bool:
        """Whether a batch is computed at once, and its gradient stays where autograd puts it."""
        return self._recipe.parts == 1

    def _begin_phase(self) -> None:
        """Let the parameters of this step learn, and no others."""
        ends = self._recipe.upsampler_only
        if ends and (self.taken == ends + 1 or not self._launched):
            for name, parameter in self._parameters.items():
                parameter.requires_grad_(self.taken > ends or name.startswith(UPSAMPLER))
            self._optimizer.zero_grad()
            if self.taken == ends + 1:
                self._optimizer.state.clear()  # as where all begin to learn together
            self._captured, self._problem, self._launched = None, None, 0

    def _set_learning_rate(self, rate: float) -> None:
        group = self._optimizer.param_groups[0]
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate

    def _launch(self, work: Work, lr: Tensor, hr: Tensor, part: int) -> Tensor:
        """Do the work of a part of the batch, as a graph where there is one."""
        self._sow(part)
        if self._captured is not None:
            return self._captured.replay(lr, hr)
        if self._graph and self._launched == WARM_UPS and part == self._share[-1]:
            return self._capture(work, lr, hr, part)
        return work(lr, hr)

    def _sow(self, part: int) -> None:
        """Begin the random numbers of a part, of all devices."""
        torch.manual_seed(derive(self._seed, f"step {self.taken}, part {part}"))

    def _capture(self, work: Work, lr: Tensor, hr: Tensor, part: int) -> Tensor:
        """Do the work, and capture its kernels after it."""
        results: list[Tensor] = []

        def watched(lr: Tensor, hr: Tensor) -> Tensor:
            result = work(lr, hr)
            if not is_capturing():
                results.append(result)
            return result

        try:
            self._captured = capture(watched, (lr, hr), warm_ups=1)
        except CaptureError as error:
            self._problem = str(error)
            self._tell(f"steps are launched kernel by kernel, not as a CUDA graph: {error}")
            if not results:  # the work was given up before it changed weights
                self._sow(part)
                return work(lr, hr)
        return results[0]

    def _whole_step(self, lr: Tensor, hr: Tensor) -> Tensor:
        """On a GPU nothing here waits for it, and no kernel is chosen by values that are on it."""
        return self._update(self._row(lr, hr))

    def _step_of_parts(self, lr: Tensor, hr: Tensor) -> Tensor:
        own = len(self._share)
        parts = zip(lr.chunk(own), hr.chunk(own), self._share, strict=True)
        rows = [self._launch(self._row, *each) for each in parts]
        first, *others = self._processes.gathered(torch.stack(rows))
        total = first.clone()
        for row in others:
            total += row
        total /= self._recipe.parts
        learning = [each for each in self._parameters.values() if each.grad is not None]
        gradients = total[:-1].split([each.numel() for each in learning])
        for parameter, gradient in zip(learning, gradients, strict=True):
            parameter.grad = gradient.view_as(parameter)
        return self._update(total)

    def _row(self, lr: Tensor, hr: Tensor) -> Tensor:
        """Put the gradient of the mean loss, which may be scaled, into the parameters.

        Returns the gradient, flat, and the loss at its end: (n + 1,).
        """
        loss = F.l1_loss(self._model(lr), hr)
        self._optimizer.zero_grad()
        (loss if self._scale is None else loss * self._scale.value).backward()
        found = (each.grad for each in self._parameters.values())
        gradients = [each.flatten() for each in found if each is not None]
        return torch.cat([*gradients, loss.detach().view(1)])

    def _update(self, row: Tensor) -> Tensor:
        """Change the weights by their gradients, unless these or the loss are not finite.

        `row` (n + 1,): all gradients and the loss. Returns the loss and whether so, (2,).
        """
        norm, loss = torch.linalg.vector_norm(row[:-1]), row[-1]
        bad = (~(norm + loss).isfinite()).float()
        # Fused Adam skips a bad step, and divides the gradient, without a wait for the device.
        optimizer: Any = self._optimizer
        optimizer.found_inf, optimizer.grad_scale = bad, self._divisor(norm)
        optimizer.step()
        # Fused Adam does not count its changes, by which caches tell old weights from new ones.
        parameters = list(self._parameters.values())
        torch.autograd.graph.increment_version(parameters)
        if self._scale is not None:
            self._scale.adapt(bad)
        if self._average:
            ema = self._recipe.ema
            assert ema is not None
            weights = [each.detach() for each in parameters]
            torch._foreach_lerp_(list(self._average.values()), weights, 1 - ema)
        return torch.stack([loss, bad])

    def _divisor(self, norm: Tensor) -> Tensor | None:
        """What gradients of this norm are divided by: the scale of the loss, and to clip them."""
        scale = None if self._scale is None else self._scale.value
        if self._recipe.clip is None:
            return scale
        limit = self._recipe.clip if scale is None else self._recipe.clip * scale
        excess = (norm / limit).clamp(min=1)
        return excess if scale is None else excess * scale


def _adam(
    parameters: Mapping[str, nn.Parameter], recipe: Recipe, device: torch.device, graph: bool
) -> torch.optim.Adam:
    on_gpu = device.type == "cuda"
    # A graph repeats the numbers that it was captured with, but reads memory anew.
    rate_in_memory = on_gpu or graph
    made = torch.optim.Adam(
        list(parameters.values()), betas=recipe.betas, fused=True, capturable=rate_in_memory
    )
    if rate_in_memory:
        exact = torch.float32 if on_gpu else torch.float64  # as the kernels read it
        made.param_groups[0]["lr"] = torch.zeros((), dtype=exact, device=device)
    return made
