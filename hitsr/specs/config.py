"""A config names what to run; `runs` and `scaled_networks` resolve it into explicit values."""

import re
from functools import cache
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StrictBool,
    field_validator,
    model_validator,
)

from hitsr.base.errors import SpecError, did_you_mean, shortened
from hitsr.base.files import sha256, visible
from hitsr.base.names import FolderName, Name, UserPath
from hitsr.base.shipped import everywhere
from hitsr.base.values import Count, CountOrNone, Distinct, Several, Steps, Value
from hitsr.specs.network import Formulation, Scale, ScaledNetwork
from hitsr.specs.recipe import Recipe
from hitsr.specs.recipes import RecipeUse, find_recipe, gates_of, recipe_or_use, resolved
from hitsr.specs.run import RunSpec, Seed, StartWeights
from hitsr.specs.source import read_source
from hitsr.specs.steps import Launch, Precision
from hitsr.specs.zoo import NETWORKS, find

FOLDER = Path("configs")


def check_device(name: str) -> str:
    """The name, if it is one of a device; else ValueError."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise ValueError("must be auto, cpu, mps, cuda, or cuda:N for the GPU of that number")
    return name


Device = Annotated[str, AfterValidator(check_device)]
Side = Annotated[Count, Field(ge=4)]  # of an output in pixels: one LR pixel at every scale
Over = Literal["window", "picture"]  # what a cost grows with
PHOTOGRAPHS = ("train", "test")  # sets of photographs in installed packages
_LITTLE = 0.01  # of initial weights in an average at the end, which does no harm
_NETWORK = "{network}"  # in the name of a file: the name of each network


def _auto_or_bool(value: Any) -> Any:
    if value == "auto" or isinstance(value, bool):
        return value
    raise ValueError("must be auto, true or false")


def _auto_or_count(value: Any) -> Any:
    if value == "auto" or (type(value) is int and value >= 1):
        return value
    raise ValueError("must be auto or a number of GPUs, such as 4")


Gpus = Annotated[Literal["auto"] | Count, BeforeValidator(_auto_or_count)]
OnMiss = Literal["warn", "stop"]  # what a training does below a gate
Graph = Annotated[Literal["auto"] | bool, BeforeValidator(_auto_or_bool)]


def _scale_or_file(start: Any) -> Any:
    if start is None or isinstance(start, str | Path) or start in get_args(Scale):
        return start
    raise ValueError("must be a trained scale, such as 2, a file of weights, or null")


Start = Annotated[Scale | UserPath | None, BeforeValidator(_scale_or_file)]


class Data(Value):
    """Where pictures are: `root/<set>/HR` and `root/<set>/LR_bicubic/X2`, as in HiT-SR's code."""

    root: UserPath
    source: Literal["wheels", "folder"]  # photographs of installed packages, or the user's pictures
    packs: UserPath | None = None  # folder of decoded pictures for training; default: root/packs
    train: FolderName | None = None  # required if anything is trained
    validation: FolderName | None = None
    test: Several[FolderName]

    @property
    def sets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(filter(None, [self.train, self.validation, *self.test])))


class Train(Value):
    """Every network is trained at each scale with each seed, all by one recipe or each by its own.

    A batch is global: all devices together compute `batch` patches a step, however many they are.
    """

    scales: Several[Scale]
    seeds: Several[Seed] = (1,)
    # Fields; or a name: `hit_sr`; or each network's `own`; or {from: hit_sr, steps: 10000}.
    recipe: Annotated[Recipe | RecipeUse, BeforeValidator(recipe_or_use)]
    # Changes to every trained network, by dotted path; costs are measured at published size.
    changes: dict[str, Any] = Field(default={})
    # {3: 2} starts x3 from the x2 run of the same seed, {2: "weights/{network}_x2.pth"} starts x2
    # from a file, of this or another scale, {3: null} x3 from random weights. Else a named recipe
    # says it.
    start_from: dict[Scale, Start] = Field(default={})
    threads: Annotated[Count, Field(le=1024)] = 1  # CPU threads of one training, of all its `gpus`
    device: Device = "auto"
    # With torch.compile; results differ in low bits, as they do between devices.
    compile: StrictBool = False
    # Launch a whole step as one CUDA graph; auto: on NVIDIA GPUs, if it is not compiled.
    graph: Graph = "auto"
    # GPUs that share each batch of a training, in `recipe.parts`; auto: as many as there are, of
    # those that divide the parts. On a CPU: processes.
    gpus: Gpus = 1
    recompute: StrictBool = False  # activations in backward, which saves memory (checkpointing)
    checkpoint_every: Steps = 500  # steps; a kill loses no more
    most_skipped: Count = 10  # steps in a row without a finite gradient, before a training stops
    on_miss: OnMiss = "warn"  # below a gate of the recipe
    tensorboard: StrictBool = False  # also write the curves for TensorBoard

    @model_validator(mode="before")
    @classmethod
    def _no_old_name(cls, data: Any) -> Any:
        if isinstance(data, dict) and "patch" in data:
            raise ValueError("patch: was renamed to `changes`; rename it")
        return data

    @model_validator(mode="after")
    def _launched_in_one_way(self) -> Self:
        if self.compile and self.graph is True:
            raise ValueError("compile, graph: a step is launched in one of these ways; choose one")
        return self

    @model_validator(mode="after")
    def _starts_exist(self) -> Self:
        for scale, start in self.start_from.items():
            if scale not in self.scales:
                raise ValueError(f"start_from: x{scale} is not trained; scales are {self.scales}")
            if isinstance(start, int) and (start not in self.scales or start >= scale):
                raise ValueError(
                    f"start_from: x{scale} cannot start from x{start}, "
                    f"which is not a smaller scale among {self.scales}"
                )
        return self


class Weights(Value):
    """Released weights, scored without training; `plan.subjects.find_weights` finds them."""

    root: UserPath
    scales: Several[Scale] = (2, 3, 4)


class Own(Value):
    """A user's own network, measured like the others; `models.own` loads it."""

    source: str  # see `specs.source`
    scales: Several[Scale] = (2, 3, 4)

    @field_validator("source")
    @classmethod
    def _is_complete(cls, source: str) -> str:
        read_source(source)
        return source


class Latency(Value):
    scales: Several[Scale]
    formulations: Several[Formulation] = ("fused",)
    warmup: CountOrNone = 1
    warmup_seconds: Annotated[float, Field(ge=0, le=3600, strict=True)] | None = None
    samples: Count = 5
    device: Device = "auto"
    # Timed in addition to one eager forward of a float32 picture, which is always timed:
    batches: Distinct[Count] = ()  # pictures in one forward
    precisions: Distinct[Precision] = ()
    launches: Distinct[Launch] = ()
    # Every step from the released code to the fastest forward (`specs.steps.STEPS`):
    taken_apart: StrictBool = False


class AttributionPlan(Value):
    """Local attribution maps of every network, for whole sets."""

    sets: Several[FolderName]
    scales: Several[Scale]
    crop: CountOrNone = 256  # side of the cut-out around a window, HR pixels; 0: whole picture

    @model_validator(mode="after")
    def _crop_holds_a_window(self) -> Self:
        least = 16 + max(self.scales)
        if 0 < self.crop < least:
            raise ValueError(
                f"crop: {self.crop} is too small around a window of 16 HR pixels; must be 0 (whole "
                f"pictures) or at least {least}"
            )
        return self


class Scaling(Value):
    """Which growth of cost is measured for the config's networks."""

    over: Several[Over] = ("window", "picture")
    scale: Scale = 2
    samples: CountOrNone = 0  # timed forwards at each size; 0: count FLOPs only


class Efficiency(Value):
    scales: Several[Scale] = (2, 3, 4)
    output_size: tuple[Side, Side] = (1280, 720)  # width, height
    latency: Latency


class Config(Value):
    """A whole reproduction: one YAML file in configs/."""

    name: Name
    title: str
    networks: Distinct[str] = tuple(NETWORKS)
    own: dict[Name, Own] = Field(default={})
    data: Data
    train: Train | None = None
    weights: Weights | None = None
    efficiency: Efficiency
    lam: AttributionPlan | None = None
    scaling: Scaling | None = None
    ablations: Distinct[str] = ()  # names of files in ablations/, without .yaml

    @model_validator(mode="after")
    def _networks_exist(self) -> Self:
        for name in self.networks:
            if name not in NETWORKS:
                raise ValueError(f"networks: no {shortened(name)}; {did_you_mean(name, NETWORKS)}")
        for name in self.own:
            if name in (*NETWORKS, "bicubic", "hr"):
                raise ValueError(f"own.{name}: this name is used by hitsr; choose another")
        return self

    @model_validator(mode="after")
    def _networks_keep_their_names(self) -> Self:
        if self.train and "name" in self.train.changes:
            raise ValueError("train.changes.name: every network has its own; leave it out")
        return self

    @model_validator(mode="after")
    def _files_are_of_one_network(self) -> Self:
        for scale, start in self.train.start_from.items() if self.train else ():
            several = len(self.networks) > 1 and isinstance(start, Path)
            if several and _NETWORK not in str(start):
                raise ValueError(
                    f"train.start_from: {len(self.networks)} networks cannot start x{scale} from "
                    f"one file, {start}; write {_NETWORK} in its name for that of the network"
                )
        return self

    @model_validator(mode="after")
    def _something_is_scored(self) -> Self:
        if not self.scales:
            raise ValueError("nothing to score: add `train`, `weights` or `own`")
        if not (self.networks or self.own or self.ablations):
            raise ValueError("networks: names none; name some, or leave it out for all six")
        if self.train and not (self.data.train and self.data.validation):
            raise ValueError("train: needs data.train and data.validation")
        if self.train and self.weights:
            raise ValueError("train, weights: a config can have only one of them; make two configs")
        if self.lam and (unscored := {*self.lam.scales} - {*self.scales}):
            raise ValueError(f"lam.scales: nothing is scored at x{min(unscored)}; remove it")
        if self.ablations and not self.train:
            raise ValueError("ablations: need `train`, whose recipe trains them")
        return self

    @property
    def sets(self) -> tuple[str, ...]:
        """All sets that are read."""
        return tuple(dict.fromkeys([*self.data.sets, *(self.lam.sets if self.lam else ())]))

    @property
    def scales(self) -> tuple[Scale, ...]:
        """Scales at which pictures are scored."""
        trained = self.train.scales if self.train else ()
        released = self.weights.scales if self.weights else ()
        own = (scale for each in self.own.values() for scale in each.scales)
        return tuple(sorted({*trained, *released, *own}))

    @property
    def folder(self) -> Path:
        return Path("results") / self.name


def scaled_networks(config: Config, scales: tuple[Scale, ...]) -> dict[str, ScaledNetwork]:
    """The config's networks at published size, by name such as `hit_sir-x2`."""
    made = (
        ScaledNetwork(network=find(name), scale=scale)
        for name, scale in product(config.networks, scales)
    )
    return {network.name: network for network in made}


def runs(config: Config) -> dict[str, RunSpec]:
    """Each network's training runs, by name such as `hit_sir-x2-s1`; SpecError for bad changes.

    Files that runs start from are read, for their hashes; SpecError if one is missing.
    """
    made: dict[str, RunSpec] = {}
    train = config.train
    if train is None:
        return made
    for name, scale, seed in product(config.networks, sorted(train.scales), train.seeds):
        start, file = start_of(config, name, scale), start_file(train, name, scale)
        run = fresh_run(config, train, name, scale, seed)
        if file:
            begun: RunSpec | StartWeights = _start_weights(file, f"{config.name}: train.start_from")
            run = run.model_copy(update={"start_from": begun})
        elif start:
            begun = made[f"{name}-x{start}-s{seed}"]
            run = run.model_copy(update={"start_from": begun})
        made[run.name] = run
    return made


def start_of(config: Config, network: str, scale: Scale) -> Scale | Path | None:
    """What a network's runs start from: as the config says, else as its named recipe does.

    SpecError if the recipe starts from a scale that the config does not train.
    """
    train = config.train
    assert train is not None
    if scale in train.start_from or isinstance(train.recipe, Recipe):
        return train.start_from.get(scale)
    name, named = find_recipe(train.recipe.name, network, _where(config))
    start = named.start_from.get(scale)
    if start is not None and start not in train.scales:
        raise SpecError(
            f"{_where(config)}: {name} starts x{scale} from x{start}, which is not trained; add "
            f"{start} to train.scales, or for random weights train.start_from: {{{scale}: null}}"
        )
    return start


def _where(config: Config) -> str:
    return f"{config.name}: train.recipe"


def start_file(train: Train, network: str, scale: Scale) -> Path | None:
    """The file whose weights a network's runs start from; None if they start from none."""
    start = train.start_from.get(scale)
    return Path(str(start).replace(_NETWORK, network)) if isinstance(start, Path) else None


def _start_weights(file: Path, where: str) -> StartWeights:
    if not file.is_file():
        raise SpecError(
            f"{where}: {file}: no such file; `hitsr fetch-weights` fetches released weights"
        )
    status = file.stat()
    return StartWeights(name=file.name, sha256=_sha256(file, status.st_size, status.st_mtime_ns))


@cache
def _sha256(file: Path, _size: int, _changed_ns: int) -> str:
    """SHA-256 of a file; runs are listed many times, and files of this size and time once read."""
    return sha256(file)


def fresh_run(config: Config, train: Train, name: str, scale: Scale, seed: int) -> RunSpec:
    """A run of one network, its recipe resolved, that starts from random weights."""
    assert config.data.train is not None
    assert config.data.validation is not None
    return RunSpec(
        network=find(name).patch(train.changes, f"{config.name}: train.changes"),
        scale=scale,
        recipe=resolved(train.recipe, name, scale, _where(config)),
        data=config.data.train,
        validation=config.data.validation,
        seed=seed,
    )


def recipe_words(config: Config) -> list[str]:
    """What a named recipe became, a line per recipe and scale: whose it is, and what differs.

    Empty for a config that trains nothing, or states the fields of its recipe.
    """
    train = config.train
    if train is None or isinstance(train.recipe, Recipe):
        return []
    found: dict[tuple[str, Scale], list[RunSpec]] = {}
    for run in runs(config).values():
        if run.seed == train.seeds[0]:
            name, _ = find_recipe(train.recipe.name, run.network.name, _where(config))
            found.setdefault((name, run.scale), []).append(run)
    return [_became(name, users) for (name, _), users in found.items()]


def _became(name: str, users: list[RunSpec]) -> str:
    """What a recipe became for these runs, which are of one scale."""
    networks, first = [run.network.name for run in users], users[0]
    _, named = find_recipe(name, networks[0], name)
    published = named.at(first.scale)
    changed = [
        f"{field} {_written(mine)} instead of {_written(theirs)}"
        for field in Recipe.model_fields
        if (mine := getattr(first.recipe, field)) != (theirs := getattr(published, field))
    ]
    kept = {gate for run in users for gate in gates_of(run)}
    left = [
        gate
        for gate in named.gates
        if gate.network in networks and gate.scale == first.scale and gate not in kept
    ]
    steps = f"without its gates at {', '.join(str(gate.step) for gate in left)}" if left else ""
    if left and not changed:
        sets = " and ".join({gate.validation: None for gate in left})
        steps += f", which are of published networks, and of validations on {sets} at these steps"
    said = "; ".join(
        filter(None, [", ".join(changed) or "unchanged", steps, _average_words(first.recipe)])
    )
    return f"x{first.scale} of {', '.join(networks)}: recipe {name}, {said}"


def _average_words(recipe: Recipe) -> str:
    """A warning where an average still holds much of the initial weights; else empty."""
    if recipe.ema is None or (rest := recipe.ema**recipe.steps) < _LITTLE:
        return ""
    return (
        f"after {recipe.steps} steps its average still holds {rest:.0%} of the initial weights, "
        "which ruins the result: change `ema`, or set it to null"
    )


def _written(value: Any) -> str:
    """A value of a recipe as a config has it."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_written, value))}]"
    return f"{value:g}" if isinstance(value, float) else shortened(value).strip("'")


def find_config(given: Path) -> Path:
    """The config of that path, or of that name: of configs/ here, else of those that hitsr ships.

    SpecError if there is none, with the nearest name.
    """
    if given.exists() and not given.is_dir():
        return given
    files = {file.stem: file for folder in everywhere(FOLDER) for file in visible(folder, "*.yaml")}
    if str(given) in files:
        return files[str(given)]
    raise SpecError(
        f"{given}: no such file in {Path.cwd()}, nor a config's name; "
        f"{did_you_mean(given.stem, files)}"
    )


def load_config(given: Path) -> Config:
    """Read and check a config, its runs included; SpecError names the key and the rule."""
    path = find_config(given)
    return checked(Config.read(path), str(path))


def checked(config: Config, where: str) -> Config:
    """The config, whose runs are possible; SpecError, which begins with `where`, if not."""
    try:
        runs(config)
    except SpecError as error:
        raise SpecError(f"{where}: {error}") from None
    return config
