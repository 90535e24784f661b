"""Subjects of jobs: a network as built, trained or released, a user's own network, a control.

`OtherMethod` stands for a method of which only finished pictures are known.
"""

import hashlib
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from hitsr.base.values import Value
from hitsr.specs.config import Own
from hitsr.specs.network import NetworkSpec, Scale, ScaledNetwork
from hitsr.specs.run import RunSpec

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
    source: str  # path/to/file.py:function, package.module:function, spandrel:checkpoint.pth
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
Upscaler = Annotated[TrainedNetwork | ReleasedNetwork | OwnNetwork | ControlMethod, _TAG]
Scored = Annotated[
    TrainedNetwork | ReleasedNetwork | OwnNetwork | ControlMethod | OtherMethod, _TAG
]
Subject = BuiltNetwork | TrainedNetwork | ReleasedNetwork | OwnNetwork | ControlMethod | OtherMethod


def own_network(source: str, scale: Scale, name: str | None = None) -> OwnNetwork:
    """The user's own network at `source`; by default it has the name of its file."""
    return OwnNetwork(
        network_name=name or _name_of(source), scale=scale, source=source, content=_content(source)
    )


def is_own(source: str) -> bool:
    """Whether the text names code (path/file.py:function), not a network or a spec's file."""
    return ":" in source


def find_weights(root: Path, network: str, scale: int) -> Path | None:
    """The first file of `weight_names` that exists; None if there is none."""
    return next((path for path in weight_names(root, network, scale) if path.is_file()), None)


def weight_names(root: Path, network: str, scale: int) -> tuple[Path, ...]:
    """`hit_sir_x2.safetensors`, `hit_sir_x2.pth`, `hit_sir_x2/model.safetensors`."""
    stem = root / f"{network}_x{scale}"
    return Path(f"{stem}.safetensors"), Path(f"{stem}.pth"), stem / "model.safetensors"


def _name_of(source: str) -> str:
    """`mine` for path/mine.py:build or package.mine:build, and for spandrel:path/mine.pth."""
    place = source.rpartition(":")[0]
    files = Own(source=source).files
    stem = Path(files[0]).stem if files else place.rpartition(".")[2]
    return re.sub(r"[^a-z0-9_]", "_", stem.lower())


def _content(source: str) -> str:
    digest = hashlib.sha256()
    files = [Path(file) for file in Own(source=source).files if Path(file).is_file()]
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16] if files else ""
