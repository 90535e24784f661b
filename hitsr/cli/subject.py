"""Turn the names, files and options of a command line into the subject of a job."""

from pathlib import Path
from typing import Any

from hitsr.base.errors import SpecError, WeightsError
from hitsr.base.reading import read_yaml
from hitsr.cli.options import check_scale, given
from hitsr.plan.subjects import (
    CONTROLS,
    BuiltNetwork,
    ControlMethod,
    Filled,
    Network,
    OtherMethod,
    OwnNetwork,
    ReleasedNetwork,
    Scored,
    TrainedNetwork,
    own_network,
)
from hitsr.specs.network import NetworkSpec, Scale, ScaledNetwork
from hitsr.specs.run import RunSpec
from hitsr.specs.source import is_source
from hitsr.specs.zoo import find


def scaled(network: str, scale: int | None, default: Scale | None = None) -> BuiltNetwork:
    """A network of hitsr, by name or file; see `built`. SpecError for a user's own network."""
    found = built(network, scale, default)
    if isinstance(found, OwnNetwork):
        raise SpecError(f"{network}: not a network of hitsr; name one, or the file of a spec")
    return found


def built(
    network: str, scale: int | None, default: Scale | None = None, name: str | None = None
) -> Network:
    """Find a network by name, by file (spec, scaled network or resolved run), or by its code.

    The scale is `scale`, else the one in the file, else `default`. Raises SpecError for an unknown
    name or field, for a missing scale, and for a file of another scale than `scale`.
    """
    if scale is not None:
        check_scale(scale)
    if is_source(network):
        return own_network(network, _scale(scale, default), name)
    if name is not None:
        raise SpecError(f"--name {name}: only for your own network; leave it out for {network}")
    found = _read(network)
    if isinstance(found, NetworkSpec):
        return BuiltNetwork(network=found, scale=_scale(scale, default))
    _check_scales_agree(network, found.scale, scale)
    return BuiltNetwork(network=found.network, scale=found.scale)


def filled(network: str, scale: int, weights: Path | None, name: str | None = None) -> Filled:
    """A network with weights: a resolved run, a network of hitsr, or a user's own network.

    Raises SpecError as `built` does, if weights are missing, and if a user's own network, whose
    code loads its weights, is given others.
    """
    factor = check_scale(scale)
    if is_source(network):
        if weights is not None:
            raise SpecError(f"{network}: your code loads its weights; leave out --weights")
        return own_network(network, factor, name)
    made = built(network, scale, name=name)
    assert isinstance(made, BuiltNetwork)
    if weights is None:
        raise SpecError(f"{network}: needs --weights FILE")
    check_weights(weights)
    found = _read(network)
    if isinstance(found, RunSpec):
        return TrainedNetwork(run=found)
    return ReleasedNetwork(network=made.network, scale=made.scale)


def scored(run: Path | None, method: str, scale: Scale) -> Scored:
    """What made finished pictures: a run, a control, or a method known only by its name."""
    if run is None:
        return control(method, scale) or OtherMethod(network_name=method, scale=scale)
    spec = RunSpec.read(run)
    _check_scales_agree(run, spec.scale, scale)
    return TrainedNetwork(run=spec)


def control(method: str, scale: Scale) -> ControlMethod | None:
    """The control of that name; None if it is no control."""
    found = next((name for name in CONTROLS if name == method), None)
    return ControlMethod(network_name=found, scale=scale) if found else None


def check_weights(weights: Path) -> None:
    if not weights.is_file():
        raise WeightsError(f"{weights}: no such file; check --weights")


def _read(network: str) -> NetworkSpec | ScaledNetwork | RunSpec:
    if not network.endswith((".json", ".yaml", ".yml")):
        return find(network)
    data: Any = read_yaml(Path(network))
    if isinstance(data, dict) and "recipe" in data:
        return RunSpec.parse(data, network)
    if isinstance(data, dict) and "network" in data:
        return ScaledNetwork.parse(data, network)
    return NetworkSpec.parse(data, network)


def _scale(scale: int | None, default: Scale | None) -> Scale:
    return check_scale(given(scale if scale is not None else default, "--scale"))


def _check_scales_agree(file: str | Path, found: Scale, asked: int | None) -> None:
    if asked not in (None, found):
        raise SpecError(f"{file}: scale is x{found}, but --scale is {asked}; make them agree")
