"""What upscales a set's pictures: trained runs, released weights, others' networks, controls."""

import hashlib
import re
from itertools import product
from pathlib import Path
from typing import Literal, NamedTuple

from hitsr.specs.config import Config, Own, RunSpec, runs
from hitsr.specs.network import Scale

Control = Literal["bicubic", "hr"]
# The least a network should reach, and the most it could.
CONTROLS: tuple[Control, ...] = ("bicubic", "hr")


class Method(NamedTuple):
    """One row of the quality tables at one scale."""

    name: str  # as its files are called: hit_sir-x2-s1, hit_sir-x2 (released), bicubic-x2
    network: str
    scale: Scale
    kind: Literal["trained", "released", "own", "control"]


def methods(config: Config) -> dict[str, Method]:
    """All that a config scores, by name; ablations come on top."""
    found = [trained(run) for run in runs(config).values()]
    if config.weights:
        cells = product(config.networks, config.weights.scales)
        found += [_unseeded(name, scale, "released") for name, scale in cells]
    for name, own in config.own.items():
        found += [_unseeded(name, scale, "own") for scale in own.scales]
    found += [_unseeded(*cell, "control") for cell in product(CONTROLS, config.scales)]
    return {method.name: method for method in found}


def trained(run: RunSpec) -> Method:
    return Method(run.name, run.network.name, run.scale, "trained")


def is_own(source: str) -> bool:
    """Whether a network is named by where it comes from, and not by a name or file of a spec."""
    return ":" in source


def own_name(source: str) -> str:
    """`mine` for path/mine.py:build or package.mine:build, and for spandrel:path/mine.pth."""
    place = source.rpartition(":")[0]
    files = Own(source=source).files
    stem = Path(files[0]).stem if files else place.rpartition(".")[2]
    return re.sub(r"[^a-z0-9_]", "_", stem.lower())


def own_hash(source: str, scale: int) -> str:
    """Of the source's name and, where it is a file, of what stands in it; 16 hex digits."""
    digest = hashlib.sha256(f"{source} x{scale}".encode())
    for file in Own(source=source).files:
        if Path(file).is_file():
            digest.update(Path(file).read_bytes())
    return digest.hexdigest()[:16]


def find_weights(root: Path, network: str, scale: int) -> Path | None:
    """Released weights in a folder, by the first of these names that is there.

    `hit_sir_x2.safetensors`, `hit_sir_x2.pth`, or as the Hugging Face hub lays them out,
    `hit_sir_x2/model.safetensors`.
    """
    return next((path for path in weight_names(root, network, scale) if path.is_file()), None)


def weight_names(root: Path, network: str, scale: int) -> tuple[Path, ...]:
    stem = root / f"{network}_x{scale}"
    return Path(f"{stem}.safetensors"), Path(f"{stem}.pth"), stem / "model.safetensors"


def _unseeded(network: str, scale: Scale, kind: Literal["released", "own", "control"]) -> Method:
    return Method(f"{network}-x{scale}", network, scale, kind)
