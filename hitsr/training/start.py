"""Start one run with the weights of another, such as x4 with those of x2."""

from pathlib import Path

from torch import nn

from hitsr.base.errors import WeightsError
from hitsr.models.backbone import create
from hitsr.models.checkpoints import load_weights
from hitsr.specs.config import RunSpec

_OF_THE_SCALE = "upsample."  # the one part whose shape depends on the scale


def load_start(model: nn.Module, run: RunSpec, weights: Path) -> tuple[str, ...]:
    """Fill a run's network with the weights of the run it starts from; returns what stays fresh.

    The run must start from one. Raises WeightsError if the file is not of that run's network and
    scale, or that network is not this one.
    """
    assert run.start_from is not None
    source = create(run.start_from.network, run.start_from.scale)
    load_weights(source, weights)
    return carry_over(source, model)


def carry_over(source: nn.Module, target: nn.Module) -> tuple[str, ...]:
    """Copy all weights of one network into its like for another scale.

    Returns the names left as they are: those of the upsampler, where its shape differs. Raises
    WeightsError, and copies nothing, if anything else differs.
    """
    given, state = source.state_dict(), target.state_dict()
    fitting = {
        name: value
        for name, value in given.items()
        if name in state and state[name].shape == value.shape
    }
    fresh = tuple(name for name in state if name not in fitting)
    alien = [name for name in {**given, **state} if name not in fitting]
    alien = [name for name in alien if name not in state or not name.startswith(_OF_THE_SCALE)]
    if alien:
        raise WeightsError(
            f"cannot start from another network: {', '.join(alien[:8])} "
            f"({len(alien)} in all) do not fit; only {_OF_THE_SCALE}* may differ"
        )
    target.load_state_dict(fitting, strict=False)
    return fresh
