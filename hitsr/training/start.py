"""Initialise a run with weights: of another run, such as x4 with those for x2, or from a file."""

from collections.abc import Callable
from pathlib import Path
from typing import get_args

from torch import nn

from hitsr.base.errors import WeightsError
from hitsr.base.files import no_file, sha256
from hitsr.models.backbone import create
from hitsr.models.checkpoints import load_weights
from hitsr.specs.network import NetworkSpec, Scale
from hitsr.specs.run import RunSpec

UPSAMPLER = "upsample."  # prefix of the only weights whose shape depends on the scale


def load_initial_weights(
    model: nn.Module, run: RunSpec, weights: Path, tell: Callable[[str], None] | None = None
) -> tuple[str, ...]:
    """Copy the weights that `run` starts from, in the file `weights`, into `model`.

    Returns the names of weights that keep their random initial values: the upsampler's, if the
    weights are of another scale. `tell` is called with a line that says which weights are taken if
    the file holds several, such as `params` and `params_ema`.

    Raises WeightsError if the file does not fit the network and scale of the other run, if that
    network differs from `model` in more than the upsampler, or if it is not the file of which the
    run holds the hash.
    """
    start = run.start_from
    assert start is not None
    if isinstance(start, RunSpec):
        source: nn.Module = create(start.network, start.scale)
        load_weights(source, weights)
    else:
        if not weights.is_file():
            raise WeightsError(no_file(weights))
        if sha256(weights) != start.sha256:
            raise WeightsError(
                f"{weights}: not the file {start.name} that {run.name} starts from "
                f"(SHA-256 {start.sha256}); name that file, or resolve the run again"
            )
        source = _at_its_scale(run.network, run.scale, weights, tell)
    return transfer_weights(source, model)


def _at_its_scale(
    network: NetworkSpec, wanted: Scale, weights: Path, tell: Callable[[str], None] | None
) -> nn.Module:
    """A network with the weights in a file, at the scale that they fit."""
    problems = []
    for scale in sorted(get_args(Scale), key=lambda each: each != wanted):
        source = create(network, scale)
        try:
            load_weights(source, weights, tell)
        except WeightsError as error:
            problems.append(error)
        else:
            return source
    raise problems[0]


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
        if name not in fitting and not name.startswith(UPSAMPLER)
    ]
    if mismatched:
        raise WeightsError(
            f"cannot start from another network: {', '.join(mismatched[:8])} "
            f"({len(mismatched)} in all) do not fit; only {UPSAMPLER}* may differ"
        )
    target.load_state_dict(fitting, strict=False)
    return untouched
