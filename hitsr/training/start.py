"""Initialise a run with the weights of another run, such as x4 with the weights for x2."""

from pathlib import Path

from torch import nn

from hitsr.base.errors import WeightsError
from hitsr.models.backbone import create
from hitsr.models.checkpoints import load_weights
from hitsr.specs.run import RunSpec

_UPSAMPLER = "upsample."  # prefix of the only weights whose shape depends on the scale


def load_initial_weights(model: nn.Module, run: RunSpec, weights: Path) -> tuple[str, ...]:
    """Copy the weights of the run that `run` starts from into `model`.

    Returns the names of weights that keep their random initial values. Raises WeightsError if the
    file does not fit the network and scale of that other run, or if that network differs from
    `model` in more than the upsampler.
    """
    assert run.start_from is not None
    source = create(run.start_from.network, run.start_from.scale)
    load_weights(source, weights)
    return transfer_weights(source, model)


def transfer_weights(source: nn.Module, target: nn.Module) -> tuple[str, ...]:
    """Copy all weights of a network into the same network for another scale.

    Returns the names of weights that were not copied: those of the upsampler, if its shape differs.
    If anything else differs, raises WeightsError and copies nothing.
    """
    given, state = source.state_dict(), target.state_dict()
    fitting = {
        name: value
        for name, value in given.items()
        if name in state and state[name].shape == value.shape
    }
    untouched = tuple(name for name in state if name not in fitting)
    mismatched = [
        name
        for name in {**given, **state}
        if name not in fitting and not (name in state and name.startswith(_UPSAMPLER))
    ]
    if mismatched:
        raise WeightsError(
            f"cannot start from another network: {', '.join(mismatched[:8])} "
            f"({len(mismatched)} in all) do not fit; only {_UPSAMPLER}* may differ"
        )
    target.load_state_dict(fitting, strict=False)
    return untouched
