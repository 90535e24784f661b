"""A config names what to run; resolving it gives values with everything explicit.

Equal values are one job, whatever asks for it.
"""

import csv
import re
from itertools import product
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from hitsr.errors import SpecError, did_you_mean
from hitsr.spec import Formulation, NetworkSpec, Scale, ScaledNetwork
from hitsr.values import Value
from hitsr.zoo import NETWORKS, find

Device = Literal["auto", "cpu", "cuda", "mps"]


class Recipe(Value):
    """How a network is trained: L1, Adam, and a learning rate that falls at milestones."""

    steps: PositiveInt
    batch: PositiveInt
    patch: PositiveInt  # side of the LR patch, in pixels
    learning_rate: PositiveFloat
    betas: tuple[float, float] = (0.9, 0.99)
    milestones: tuple[PositiveInt, ...] = ()  # steps after which the rate is multiplied by decay
    decay: float = Field(default=0.5, gt=0, lt=1)
    log_every: PositiveInt = 100  # steps
    validate_every: PositiveInt = 1000  # steps; the last step is always validated

    @model_validator(mode="after")
    def _milestones_rise(self) -> Self:
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones: {self.milestones} do not rise")
        if self.milestones and self.milestones[-1] >= self.steps:
            raise ValueError(f"milestones: {self.milestones[-1]} is not before step {self.steps}")
        return self


class RunSpec(Value):
    """One training run, every value explicit."""

    network: NetworkSpec
    scale: Scale
    recipe: Recipe
    data: str  # name of the training set
    validation: str  # name of the set whose PSNR the log follows; nothing is selected by it
    seed: NonNegativeInt
    start_from: "RunSpec | None" = None  # the run whose weights this one starts with

    @property
    def name(self) -> str:
        return f"{self.network.name}-x{self.scale}-s{self.seed}"


class Data(Value):
    """Where pictures are: `root/<set>/HR` and `root/<set>/LR_bicubic/X2`, as HiT-SR lays them."""

    root: Path
    source: Literal["wheels", "folder"]  # made from packaged photographs, or the user's own
    train: str
    validation: str
    test: tuple[str, ...] = Field(min_length=1)

    @property
    def sets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([self.train, self.validation, *self.test]))


class Train(Value):
    """What is trained: each network at each scale with each seed, by one recipe."""

    scales: tuple[Scale, ...]
    seeds: tuple[NonNegativeInt, ...] = (1,)
    recipe: Recipe
    patch: dict[str, Any] = Field(
        default={}
    )  # changes to every trained network; efficiency stays full size
    start_from: dict[Scale, Scale] = Field(
        default={}
    )  # x3: x2 starts x3 from the x2 run of the same seed
    threads: PositiveInt = 1  # CPU threads of one training
    device: Device = "auto"

    @model_validator(mode="after")
    def _starts_exist(self) -> Self:
        for scale, start in self.start_from.items():
            if start not in self.scales or start >= scale:
                raise ValueError(
                    f"start_from: x{scale} cannot start from x{start}, "
                    f"which is not a smaller scale among {self.scales}"
                )
        return self


class Latency(Value):
    scales: tuple[Scale, ...]
    formulations: tuple[Formulation, ...] = ("fused",)
    warmup: NonNegativeInt = 1
    samples: PositiveInt = 5
    device: Device = "auto"


class Efficiency(Value):
    scales: tuple[Scale, ...] = (2, 3, 4)
    output_size: tuple[PositiveInt, PositiveInt] = (1280, 720)  # width, height
    latency: Latency


class Config(Value):
    """The whole of a reproduction: one YAML file in configs/."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    title: str
    networks: tuple[str, ...] = tuple(NETWORKS)
    data: Data
    train: Train
    efficiency: Efficiency

    @model_validator(mode="after")
    def _networks_exist(self) -> Self:
        for name in self.networks:
            if name not in NETWORKS:
                raise ValueError(f"networks: no {name!r}; {did_you_mean(name, NETWORKS)}")
        return self

    @property
    def folder(self) -> Path:
        return Path("results") / self.name


def scaled_networks(config: Config, scales: tuple[Scale, ...]) -> dict[str, ScaledNetwork]:
    """The published-size networks that are measured, by name such as `hit_sir-x2`."""
    made = (
        ScaledNetwork(network=find(name), scale=scale)
        for name, scale in product(config.networks, scales)
    )
    return {network.name: network for network in made}


def runs(config: Config) -> dict[str, RunSpec]:
    """Every training run, by name such as `hit_sir-x2-s1`; SpecError for a bad patch."""
    made: dict[str, RunSpec] = {}
    train = config.train
    for name, scale, seed in product(config.networks, sorted(train.scales), train.seeds):
        network = find(name).patch(train.patch, f"{config.name}: train.patch")
        start = train.start_from.get(scale)
        run = RunSpec(
            network=network,
            scale=scale,
            recipe=train.recipe,
            data=config.data.train,
            validation=config.data.validation,
            seed=seed,
            start_from=made[f"{name}-x{start}-s{seed}"] if start else None,
        )
        made[run.name] = run
    return made


def available_device(asked: Device) -> Literal["cpu", "cuda", "mps"]:
    """What `auto` means on this machine, found without torch: a GPU where its driver answers."""
    if asked != "auto":
        return asked
    return "cuda" if Path("/proc/driver/nvidia/version").exists() else "cpu"


def missing_data(config: Config, sources: Path) -> str | None:
    """What pictures a config wants and does not find, and where to get them; None if all is there.

    `sources` is a CSV of kind, name and url.
    """
    if config.data.source == "wheels":
        return None
    folders = {name: config.data.root / name / "HR" for name in config.data.sets}
    missing = {name: folder for name, folder in folders.items() if not folder.is_dir()}
    if not missing:
        return None
    with sources.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "dataset"]
    lines = [f"{len(missing)} of {len(folders)} sets of pictures are missing:"]
    for name, folder in missing.items():
        lines.append(f"  {folder}")
        lines += [f"    {row['name']}: {row['url']}" for row in rows if _offers(row, name)]
    lines.append("Put each set's full-size pictures into its HR folder (LR is made from them), or")
    lines.append("name other sets in the config's `data`.")
    return "\n".join(lines)


def _offers(row: dict[str, str], dataset: str) -> bool:
    """Whether a source holds the HR pictures of a set; its note may list several sets."""
    listed = re.search(rf"\b{re.escape(dataset)}[,:]", row["note"]) is not None
    return listed or (row["name"].startswith(dataset) and "_LR_" not in row["name"])


def load_config(path: Path) -> Config:
    """Read and check a config, its runs included; SpecError says what is wrong, where."""
    config = Config.read(path)
    if not config.train.scales:
        raise SpecError(f"{path}: train.scales is empty")
    runs(config)
    return config
