"""A config names what to run; resolving it gives values with everything explicit.

Equal values are one job, whatever asks for it.
"""

from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from hitsr.base.errors import did_you_mean
from hitsr.base.values import Value
from hitsr.specs.network import Formulation, NetworkSpec, Scale, ScaledNetwork
from hitsr.specs.zoo import NETWORKS, find

Device = Literal["auto", "cpu", "cuda", "mps"]
Dtype = Literal["float32", "float16", "bfloat16"]
OwnName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]


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
    autocast: bool = False  # products in bfloat16: other weights come out

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
    packs: Path | None = None  # of decoded pictures, for training; root/packs by default
    train: str | None = None  # wanted where anything is trained
    validation: str | None = None
    test: tuple[str, ...] = Field(min_length=1)

    @property
    def sets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(filter(None, [self.train, self.validation, *self.test])))


class Train(Value):
    """What is trained: each network at each scale with each seed, by one recipe."""

    scales: tuple[Scale, ...] = Field(min_length=1)
    seeds: tuple[NonNegativeInt, ...] = Field(default=(1,), min_length=1)
    recipe: Recipe
    patch: dict[str, Any] = Field(
        default={}
    )  # changes to every trained network; efficiency stays full size
    start_from: dict[Scale, Scale] = Field(
        default={}
    )  # x3: x2 starts x3 from the x2 run of the same seed
    threads: PositiveInt = 1  # CPU threads of one training
    device: Device = "auto"
    compile: bool = False  # by torch.compile; results differ in low bits, as between devices

    @model_validator(mode="after")
    def _starts_exist(self) -> Self:
        for scale, start in self.start_from.items():
            if start not in self.scales or start >= scale:
                raise ValueError(
                    f"start_from: x{scale} cannot start from x{start}, "
                    f"which is not a smaller scale among {self.scales}"
                )
        return self


class Weights(Value):
    """Weights that somebody released, scored without training: see `methods.find_weights`."""

    root: Path
    scales: tuple[Scale, ...] = Field(default=(2, 3, 4), min_length=1)


class Own(Value):
    """A network that is not ours, measured beside the others: see `own.load_own`."""

    source: str  # path/to/file.py:function, package.module:function, spandrel:checkpoint.pth
    scales: tuple[Scale, ...] = Field(default=(2, 3, 4), min_length=1)

    @property
    def files(self) -> tuple[str, ...]:
        """The file that it is made from, where it is one."""
        place, _, name = self.source.rpartition(":")
        return (name,) if place == "spandrel" else (place,) if place.endswith(".py") else ()


class Latency(Value):
    scales: tuple[Scale, ...]
    formulations: tuple[Formulation, ...] = ("fused",)
    warmup: NonNegativeInt = 1
    samples: PositiveInt = 5
    device: Device = "auto"
    # Beside the row of one float32 picture, which is always timed:
    batches: tuple[PositiveInt, ...] = ()  # pictures in one forward
    dtypes: tuple[Dtype, ...] = ()


class Attribution(Value):
    """Local attribution maps of every method, over whole sets."""

    sets: tuple[str, ...] = Field(min_length=1)
    scales: tuple[Scale, ...] = Field(min_length=1)
    crop: NonNegativeInt = 256  # side of the pictures around their windows, HR pixels; 0: whole


class Scaling(Value):
    """How cost grows with windows and pictures, of the config's networks."""

    over: tuple[Literal["window", "picture"], ...] = ("window", "picture")
    scale: Scale = 2
    samples: NonNegativeInt = 0  # timed forwards at each size; 0 counts, and times nothing


class Efficiency(Value):
    scales: tuple[Scale, ...] = (2, 3, 4)
    output_size: tuple[PositiveInt, PositiveInt] = (1280, 720)  # width, height
    latency: Latency


class Config(Value):
    """The whole of a reproduction: one YAML file in configs/."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    title: str
    networks: tuple[str, ...] = tuple(NETWORKS)
    own: dict[OwnName, Own] = Field(default={})
    data: Data
    train: Train | None = None
    weights: Weights | None = None
    efficiency: Efficiency
    lam: Attribution | None = None
    scaling: Scaling | None = None
    ablations: tuple[str, ...] = ()  # files of ablations/, without their ending

    @model_validator(mode="after")
    def _networks_exist(self) -> Self:
        for name in self.networks:
            if name not in NETWORKS:
                raise ValueError(f"networks: no {name!r}; {did_you_mean(name, NETWORKS)}")
        for name in self.own:
            if name in (*NETWORKS, "bicubic", "hr"):
                raise ValueError(f"own.{name}: is a name of hitsr's; call it otherwise")
        return self

    @model_validator(mode="after")
    def _something_is_scored(self) -> Self:
        if not self.scales:
            raise ValueError("nothing to score: give it `train`, `weights` or `own`")
        if self.train and not (self.data.train and self.data.validation):
            raise ValueError("train: needs data.train and data.validation")
        if self.train and self.weights:
            raise ValueError("train, weights: one of them; the other belongs to another config")
        if self.ablations and not self.train:
            raise ValueError("ablations: need `train`, whose recipe they are trained by")
        return self

    @property
    def scales(self) -> tuple[Scale, ...]:
        """Those at which pictures are scored."""
        trained = self.train.scales if self.train else ()
        released = self.weights.scales if self.weights else ()
        own = (scale for each in self.own.values() for scale in each.scales)
        return tuple(sorted({*trained, *released, *own}))

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
    """Each network's training runs, by name such as `hit_sir-x2-s1`; SpecError for a bad patch."""
    made: dict[str, RunSpec] = {}
    train = config.train
    if train is None:
        return made
    for name, scale, seed in product(config.networks, sorted(train.scales), train.seeds):
        start = train.start_from.get(scale)
        run = fresh_run(config, train, name, scale, seed)
        if start:
            run = run.model_copy(update={"start_from": made[f"{name}-x{start}-s{seed}"]})
        made[run.name] = run
    return made


def fresh_run(config: Config, train: Train, name: str, scale: Scale, seed: int) -> RunSpec:
    """The run of one network that starts from no other."""
    assert config.data.train is not None
    assert config.data.validation is not None
    return RunSpec(
        network=find(name).patch(train.patch, f"{config.name}: train.patch"),
        scale=scale,
        recipe=train.recipe,
        data=config.data.train,
        validation=config.data.validation,
        seed=seed,
    )


def load_config(path: Path) -> Config:
    """Read and check a config, its runs included; SpecError says what is wrong, where."""
    config = Config.read(path)
    runs(config)
    return config
