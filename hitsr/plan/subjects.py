"""Subjects of jobs: a network as built, trained or released, a user's own network, a control.

`OtherMethod` stands for a method of which only finished pictures are known.
"""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from hitsr.base.errors import SpecError
from hitsr.base.files import sha256
from hitsr.base.names import LONGEST_NAME, check_name
from hitsr.base.values import Value
from hitsr.specs.network import NetworkSpec, Scale, ScaledNetwork
from hitsr.specs.run import RunSpec
from hitsr.specs.source import Source, read_source

Control = Literal["bicubic", "hr"]
# Bicubic is the least that a network should reach, the HR picture itself the most that it could.
CONTROLS: tuple[Control, ...] = ("bicubic", "hr")


class _OurNetwork(ScaledNetwork):
    @property
    def network_name(self) -> str:
        return self.network.name

    @property
    def spec(self) -> NetworkSpec:
        return self.network


class BuiltNetwork(_OurNetwork):
    """A network of hitsr with random weights, whose costs are measured."""

    kind: Literal["built"] = "built"


class ReleasedNetwork(_OurNetwork):
    """A network of hitsr with released weights."""

    kind: Literal["released"] = "released"


class TrainedNetwork(Value):
    """A network of hitsr with the weights of a training run."""

    kind: Literal["trained"] = "trained"
    run: RunSpec

    @property
    def name(self) -> str:
        return self.run.name

    @property
    def network_name(self) -> str:
        return self.run.network.name

    @property
    def scale(self) -> Scale:
        return self.run.scale

    @property
    def spec(self) -> NetworkSpec:
        return self.run.network


class _Method(Value):
    """Not a network of hitsr, so without a spec."""

    network_name: str
    scale: Scale

    @property
    def name(self) -> str:
        return f"{self.network_name}-x{self.scale}"

    @property
    def spec(self) -> None:
        return None


class OwnNetwork(_Method):
    """A user's own network: a function that returns it, or a checkpoint for spandrel."""

    kind: Literal["own"] = "own"
    source: str  # see `specs.source`
    content: str  # first 16 hex digits of the file's SHA-256; empty for an installed package


class ControlMethod(_Method):
    """Bicubic upscaling, or the HR picture itself."""

    kind: Literal["control"] = "control"
    network_name: Control


class OtherMethod(_Method):
    """A method of which only its name and finished pictures are known."""

    kind: Literal["other"] = "other"


_TAG = Field(discriminator="kind")
# Subjects that are counted and timed; that are mapped; that make pictures; that are scored.
Network = Annotated[BuiltNetwork | OwnNetwork, _TAG]
Filled = Annotated[TrainedNetwork | ReleasedNetwork | OwnNetwork, _TAG]
Measured = Annotated[BuiltNetwork | TrainedNetwork | ReleasedNetwork | OwnNetwork, _TAG]
Upscaler = Annotated[TrainedNetwork | ReleasedNetwork | OwnNetwork | ControlMethod, _TAG]
Scored = Annotated[
    TrainedNetwork | ReleasedNetwork | OwnNetwork | ControlMethod | OtherMethod, _TAG
]
Subject = BuiltNetwork | TrainedNetwork | ReleasedNetwork | OwnNetwork | ControlMethod | OtherMethod


def own_network(source: str, scale: Scale, name: str | None = None) -> OwnNetwork:
    """The user's own network at `source`; by default it has the name of its file.

    Raises SpecError if `source` cannot be read, or the name is not allowed.
    """
    try:
        found = read_source(source)
        called = check_name(name or _name_of(found))
    except ValueError as error:
        raise SpecError(f"{name or source}: {error}") from None
    content = sha256(found.file)[:16] if found.file and found.file.is_file() else ""
    return OwnNetwork(network_name=called, scale=scale, source=source, content=content)


def find_weights(root: Path, network: str, scale: int) -> Path | None:
    """The first file of `weight_names` that exists; None if there is none."""
    return next((path for path in weight_names(root, network, scale) if path.is_file()), None)


def weight_names(root: Path, network: str, scale: int) -> tuple[Path, ...]:
    """`hit_sir_x2.safetensors`, `hit_sir_x2.pth`, `hit_sir_x2/model.safetensors`."""
    stem = root / f"{network}_x{scale}"
    return Path(f"{stem}.safetensors"), Path(f"{stem}.pth"), stem / "model.safetensors"


def _name_of(source: Source) -> str:
    """`mine` for path/mine.py:build or package.mine:build, and for spandrel:path/mine.pth."""
    stem = source.file.stem if source.file else source.module.rpartition(".")[2]
    return re.sub(r"[^a-z0-9_]", "_", stem.lower()).lstrip("_")[:LONGEST_NAME] or "own"
