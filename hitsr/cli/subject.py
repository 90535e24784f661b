"""Turn the names, files and options of a command line into the subject of a job."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from hitsr.base.errors import SpecError, WeightsError
from hitsr.base.files import no_file
from hitsr.base.reading import read_yaml
from hitsr.cli.options import check_scale, given
from hitsr.plan.subjects import (
    CONTROLS,
    BuiltNetwork,
    Control,
    ControlMethod,
    Filled,
    Network,
    OtherMethod,
    OwnNetwork,
    ReleasedNetwork,
    Scored,
    TrainedNetwork,
    Upscaler,
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
    """Find a network by name, by file (spec, scaled network, run or its record), or by its code.

    The scale is `scale`, else the one in the file, else `default`. Raises SpecError for an unknown
    name or field, for a missing scale, and for a file of another scale than `scale`.
    """
    if scale is not None:
        check_scale(scale)
    if is_source(network):
        return own_network(network, _scale(scale, default), name)
    if name is not None:
        raise _superfluous(name, network)
    found = _read(network)
    if isinstance(found, NetworkSpec):
        return BuiltNetwork(network=found, scale=_scale(scale, default))
    _check_scales_agree(network, found.scale, scale)
    return BuiltNetwork(network=found.network, scale=found.scale)


def weighted(network: str, scale: int | None, weights: Path) -> BuiltNetwork:
    """A network of hitsr at `scale`, else that of its file, else that in the weights' metadata.

    Raises SpecError as `built` does. Loading refuses weights of another scale.
    """
    if not weights.is_file():
        raise WeightsError(f"--weights {no_file(weights)}")
    if scale is None and not is_source(network) and isinstance(_read(network), NetworkSpec):
        scale = _said(weights).get("scale")
        if scale is None:
            raise SpecError(f"{network}, {weights}: neither says its scale; name --scale")
    return scaled(network, scale)


def filled(
    network: str, scale: int | None, weights: Path | None, name: str | None = None
) -> Filled:
    """A network with weights: a resolved run, a network of hitsr, or a user's own network.

    Raises SpecError as `built` does, if weights are missing, and if a user's own network, whose
    code loads its weights, is given others.
    """
    if scale is not None:
        check_scale(scale)
    if is_source(network):
        if weights is not None:
            raise SpecError(f"{network}: your code loads its weights; leave out --weights")
        return own_network(network, _scale(scale, None), name)
    if name is not None:
        raise _superfluous(name, network)
    found = _read(network)
    if weights is None:
        raise SpecError(f"{network}: needs --weights FILE")
    made = weighted(network, scale, weights)
    if isinstance(found, RunSpec):
        _check_run(found, weights)
        return TrainedNetwork(run=found)
    return ReleasedNetwork(network=made.network, scale=made.scale)


def upscaler(method: str, scale: int | None, weights: Path | None) -> Upscaler:
    """What makes pictures: a control, or a network as `filled` finds it."""
    if method not in CONTROLS:
        return filled(method, scale, weights)
    if weights is not None:
        raise SpecError(f"{method}: not a network; leave out --weights")
    return _control(method, _scale(scale, None))


def scored(run: Path | None, method: str, scale: int | None) -> Scored:
    """What made finished pictures: a run, a control, or a method known only by its name.

    The scale of a run, resolved or in a training record, is its own; SpecError for another.
    """
    if run is None:
        factor = _scale(scale, None)
        if method in CONTROLS:
            return _control(method, factor)
        return OtherMethod(network_name=method, scale=factor)
    data = read_yaml(run)
    spec = _run_in(data, str(run)) or RunSpec.parse(data, str(run))
    _check_scales_agree(run, spec.scale, scale)
    return TrainedNetwork(run=spec)


def _said(weights: Path) -> Mapping[str, Any]:
    from hitsr.models.weight_files import belongs_to

    return belongs_to(weights)


def _check_run(run: RunSpec, weights: Path) -> None:
    said = _said(weights)
    if said.get("run_hash") not in (None, run.hash):
        raise WeightsError(
            f"{weights}: weights of the run {said.get('run')} ({said['run_hash']}), not of "
            f"{run.name} ({run.hash}); correct the run or --weights"
        )


def _control(method: str, scale: Scale) -> ControlMethod:
    return ControlMethod(network_name=cast(Control, method), scale=scale)


def _superfluous(name: str, network: str) -> SpecError:
    return SpecError(f"--name {name}: only for your own network; leave it out for {network}")


def _run_in(data: Any, where: str) -> RunSpec | None:
    """The run in a training record; None for other data."""
    run = data.get("run") if isinstance(data, dict) else None
    return RunSpec.parse(run, where) if isinstance(run, dict) else None


def _read(network: str) -> NetworkSpec | ScaledNetwork | RunSpec:
    if not network.endswith((".json", ".yaml", ".yml")):
        return find(network)
    data: Any = read_yaml(Path(network))
    if run := _run_in(data, network):
        return run
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
