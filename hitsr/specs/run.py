"""One training run as a value: a network, a recipe, pictures and a seed."""

from typing import Annotated

from pydantic import Field, Strict

from hitsr.base.names import FolderName
from hitsr.base.values import Value
from hitsr.specs.network import NetworkSpec, Scale
from hitsr.specs.recipe import Recipe

Seed = Annotated[int, Strict(), Field(ge=0, lt=2**63)]


class StartWeights(Value):
    """A file of weights that a run starts from: of the same network, at any scale."""

    name: str  # of the file; its folder may differ between machines
    sha256: str  # of its content


class RunSpec(Value):
    """One training run, every value explicit."""

    network: NetworkSpec
    scale: Scale
    recipe: Recipe
    data: FolderName  # name of the training set
    validation: FolderName  # name of the set whose PSNR is logged; no weights are selected by it
    seed: Seed
    start_from: "RunSpec | StartWeights | None" = None  # whose weights are the initial ones

    @property
    def name(self) -> str:
        return f"{self.network.name}-x{self.scale}-s{self.seed}"
