"""What a verb measures: a network by name, by a file of its spec or run, or one of one's own."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, cast

import typer

from hitsr.base.errors import SpecError
from hitsr.base.values import read_yaml
from hitsr.cli.options import check_scale
from hitsr.plan.methods import is_own, own_hash, own_name
from hitsr.specs.config import RunSpec
from hitsr.specs.network import Formulation, NetworkSpec, Scale, ScaledNetwork
from hitsr.specs.zoo import find

if TYPE_CHECKING:
    from torch import nn

SubjectArgument = Annotated[
    str,
    typer.Argument(help="a network's name, a file of its spec, or file.py:function of your own"),
]
NameOption = Annotated[
    str | None, typer.Option(help="of a network of your own; by default after its file")
]


class Subject(NamedTuple):
    """A network at one scale, whoever wrote it."""

    name: str  # hit_sir-x2, hit_sir-x2-s1, mine-x2
    hash: str
    network: str
    scale: Scale
    spec: NetworkSpec | None  # None for a network of one's own
    source: str

    def model(self, formulation: Formulation = "fused", weights: Path | None = None) -> "nn.Module":
        """Made anew; ours with weights from a file, or fresh without one."""
        from hitsr.models.backbone import create
        from hitsr.models.checkpoints import load_weights
        from hitsr.models.own import load_own

        if self.spec is None:
            if weights is not None:
                raise SpecError(f"{self.source}: brings its weights; leave out --weights")
            return load_own(self.source, self.scale)
        made = create(self.spec, self.scale, formulation=formulation)
        if weights is not None:
            load_weights(made, weights)
        return made


def subject(network: str, scale: int, name: str | None = None) -> Subject:
    """A zoo name, a file (a spec, one with its scale, or a resolved run), or a source of code.

    SpecError for an unknown name or field, or a file of another scale.
    """
    check_scale(scale)
    factor = cast(Scale, scale)
    if is_own(network):
        called = name or own_name(network)
        return Subject(
            f"{called}-x{scale}", own_hash(network, scale), called, factor, None, network
        )
    if name is not None:
        raise SpecError(f"--name {name}: names a network of your own; {network} has its name")
    if not network.endswith((".json", ".yaml", ".yml")):
        return _ours(ScaledNetwork(network=find(network), scale=factor), network)
    data = read_yaml(Path(network))
    if isinstance(data, dict) and "recipe" in data:
        run = RunSpec.parse(data, network)
        _check_agrees(network, run.scale, scale)
        return Subject(run.name, run.hash, run.network.name, run.scale, run.network, network)
    if isinstance(data, dict) and "network" in data:
        return _ours(ScaledNetwork.parse(data, network), network)
    return _ours(ScaledNetwork(network=NetworkSpec.parse(data, network), scale=factor), network)


def _ours(made: ScaledNetwork, source: str) -> Subject:
    return Subject(made.name, made.hash, made.network.name, made.scale, made.network, source)


def _check_agrees(path: str, found: int, asked: int) -> None:
    if found != asked:
        raise SpecError(f"{path}: is a x{found} run, --scale is {asked}; make them agree")
