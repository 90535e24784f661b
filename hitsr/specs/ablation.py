"""An ablation changes one design choice and keeps all else: a small file, checked whole.

Resolved against a config it gives rows: a network at published size, and its training runs. Names
follow from values, so equal values are one job, whatever file asks for them.
"""

from collections.abc import Iterable
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self, TypeVar

from pydantic import BeforeValidator, Field, model_validator

from hitsr.base.errors import SpecError, did_you_mean
from hitsr.base.values import Value
from hitsr.specs.config import Config, Recipe, RunSpec, Train, fresh_run, runs
from hitsr.specs.network import NetworkSpec, Scale, ScaledNetwork
from hitsr.specs.zoo import NETWORKS, OTHERS, find

ZOO = {**NETWORKS, **OTHERS}

_OF_RECIPE, _DATA = "recipe.", "data"  # what a patch may change besides the network

S = TypeVar("S", RunSpec, ScaledNetwork)
Patch = dict[str, Any]
VariantName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]
Names = Annotated[
    tuple[str, ...], BeforeValidator(lambda given: (given,) if isinstance(given, str) else given)
]


class Remark(Value):
    """What the paper or its code says about the choice."""

    says: str
    source: str


class Ablation(Value):
    """One file of ablations/: a question, and the variants that answer it."""

    question: str
    base: Names = Field(min_length=1)  # networks that are changed, each in turn
    variants: dict[VariantName, Patch] = Field(min_length=2)  # dotted path -> value
    published: tuple[Remark, ...] = ()
    expect: str  # what a reader should expect, and why
    note: str = ""  # what differs besides the choice, such as parameters that cannot be matched

    @model_validator(mode="after")
    def _one_variant_is_the_base(self) -> Self:
        unchanged = [name for name, patch in self.variants.items() if not patch]
        if len(unchanged) != 1:
            raise ValueError(f"variants: one is {{}}, the base itself; found {unchanged}")
        return self

    @property
    def reference(self) -> str:
        """The variant that is the base itself."""
        return next(name for name, patch in self.variants.items() if not patch)


class AblationRow(NamedTuple):
    """One variant of one base: what its table row is measured from."""

    base: str
    variant: str
    network: ScaledNetwork  # of published size
    runs: tuple[RunSpec, ...]  # one per seed, as the config reduces networks

    def at_scales(self, scales: Iterable[Scale]) -> list[ScaledNetwork]:
        """The network of published size at other scales."""
        return [ScaledNetwork(network=self.network.network, scale=scale) for scale in scales]


class Resolved(NamedTuple):
    """An ablation and its rows under one config."""

    ablation: Ablation
    rows: tuple[AblationRow, ...]


def resolve(
    config: Config, folder: Path, names: Iterable[str] | None = None
) -> dict[str, Resolved]:
    """The named ablations of a folder, by default those of the config."""
    chosen = pick(config.ablations if names is None else names, read_ablations(folder), config.name)
    return {
        name: Resolved(each, ablation_rows(name, each, config)) for name, each in chosen.items()
    }


def read_ablations(folder: Path) -> dict[str, Ablation]:
    """All files of a folder, by name; SpecError names the file, key and rule."""
    return {path.stem: Ablation.read(path) for path in sorted(folder.glob("*.yaml"))}


def pick(names: Iterable[str], known: dict[str, Ablation], where: str) -> dict[str, Ablation]:
    """Those of `names`; SpecError tells the nearest name of one that is not there."""
    for name in names:
        if name not in known:
            raise SpecError(f"{where}: no ablation {name!r}; {did_you_mean(name, known)}")
    return {name: known[name] for name in names}


def ablation_rows(name: str, ablation: Ablation, config: Config) -> tuple[AblationRow, ...]:
    """Every row, the base itself first among those of a network: nothing is left to fail later.

    At the smallest scale that the config trains, with its recipe and seeds. SpecError names the
    file, the variant and the rule where a variant changes nothing or cannot be.
    """
    if config.train is None:
        raise SpecError(f"{config.name}: trains nothing, so it has no ablations; give it `train`")
    order = sorted(ablation.variants, key=lambda variant: variant != ablation.reference)
    return tuple(
        _row(base, variant, ablation.variants[variant], config, name)
        for base in ablation.base
        for variant in order
    )


def _row(base: str, variant: str, patch: Patch, config: Config, name: str) -> AblationRow:
    train = config.train
    assert train is not None
    where, scale = f"ablations/{name}.yaml: variants.{variant}", min(train.scales)
    of_network = {key: value for key, value in patch.items() if not _is_of_run(key)}
    full = find(base)
    network = full.with_changes(of_network, where)
    network = network.model_copy(update={"name": _name(full, network)})
    made = (
        _changed(fresh_run(config, train, base, scale, seed), patch, where) for seed in train.seeds
    )
    known = {**_zoo_runs(config, train, scale), **runs(config)}.values()
    published = (ScaledNetwork(network=each, scale=scale) for each in ZOO.values())
    return AblationRow(
        base,
        variant,
        _shared(ScaledNetwork(network=network, scale=scale), published),
        tuple(_shared(run, known) for run in made),
    )


def _zoo_runs(config: Config, train: Train, scale: Scale) -> dict[str, RunSpec]:
    """Runs of every network that has a name of its own and takes the config's patch."""
    found = {}
    for name, seed in product(ZOO, train.seeds):
        with suppress(SpecError):
            run = fresh_run(config, train, name, scale, seed)
            found[run.name] = run
    return found


def _changed(base: RunSpec, patch: Patch, where: str) -> RunSpec:
    """The run with a patch, called after what differs."""
    of_network = {key: value for key, value in patch.items() if not _is_of_run(key)}
    of_recipe = {
        key.removeprefix(_OF_RECIPE): value
        for key, value in patch.items()
        if key.startswith(_OF_RECIPE)
    }
    network = base.network.with_changes(of_network, where)
    recipe = Recipe.parse({**base.recipe.model_dump(), **of_recipe}, f"{where}: recipe")
    data = patch.get(_DATA, base.data)
    changes = {"network": network, "recipe": recipe, "data": data}
    changed = RunSpec.parse({**dict(base), **changes}, where)
    if patch and changed == base:
        raise SpecError(
            f"{where}: changes nothing in {base.network.name} as {base.name} trains it; "
            "remove it or mend its values"
        )
    extra = {key: getattr(recipe, key) for key in of_recipe} | (
        {_DATA: data} if data != base.data else {}
    )
    named = network.model_copy(update={"name": _name(base.network, network, extra)})
    return changed.model_copy(update={"network": named})


def _is_of_run(key: str) -> bool:
    return key == _DATA or key.startswith(_OF_RECIPE)


def _shared(made: S, known: Iterable[S]) -> S:
    """The known value that is the same but for its name, if there is one."""
    return next((each for each in known if _nameless(each) == _nameless(made)), made)


def _nameless(value: RunSpec | ScaledNetwork) -> RunSpec | ScaledNetwork:
    return value.model_copy(
        update={"network": value.network.model_copy(update={"name": "nameless"})}
    )


def _name(base: NetworkSpec, changed: NetworkSpec, extra: Patch | None = None) -> str:
    """`hit_sir.ratios_1_1_1_1_1_1`: the base, then each field that differs, with its value."""
    before, after = _flat(base.model_dump()), _flat(changed.model_dump())
    if base.mixer.kind != changed.mixer.kind:
        # What the two kinds of mixer have by default tells no more than the kind.
        default = type(changed.mixer)().model_dump()
        before = {**before, **_flat({"mixer": default}), "mixer.kind": base.mixer.kind}
    differing = {key: value for key, value in after.items() if before.get(key, ...) != value}
    words = [_word(key, value) for key, value in (differing | (extra or {})).items()]
    return ".".join([base.name, *words])


def _flat(data: Patch, above: str = "") -> Patch:
    flat: Patch = {}
    for key, value in data.items():
        flat |= _flat(value, f"{above}{key}.") if isinstance(value, dict) else {above + key: value}
    return flat


def _word(path: str, value: object) -> str:
    *above, field = path.split(".")
    name = above[-1] if field == "kind" else field
    return f"{name}_{_text(value)}"


def _text(value: object) -> str:
    """In the letters that names are made of."""
    match value:
        case None:
            return "none"
        case bool():
            return "on" if value else "off"
        case float():
            return f"{value:.9f}".rstrip("0").rstrip(".")
        case tuple() | list():
            return "_".join(map(_text, value))
    return str(value).lower()
