"""An ablation is a small file that changes one design choice and keeps everything else.

Together with a config it gives rows, each a network of published size and its training runs. Names
are derived from values, so that equal networks in several files share one job.
"""

import re
from collections.abc import Iterable
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self, TypeVar
from urllib.parse import quote

from pydantic import BeforeValidator, Field, model_validator

from hitsr.base.changes import flat
from hitsr.base.errors import SpecError, did_you_mean, shortened
from hitsr.base.names import LONGEST_NAME, Name, cut_name
from hitsr.base.shipped import everywhere, not_shipped
from hitsr.base.values import Several, Value
from hitsr.specs.config import Config, Train, fresh_run, runs
from hitsr.specs.network import NetworkSpec, Scale, ScaledNetwork
from hitsr.specs.recipe import Recipe
from hitsr.specs.recipes import fitted
from hitsr.specs.run import RunSpec
from hitsr.specs.zoo import NETWORKS, OTHERS, find

FOLDER = Path("ablations")
ZOO = {**NETWORKS, **OTHERS}

# What a change may name besides fields of the network: a recipe by its name, its fields, a set.
_RECIPE, _OF_RECIPE, _DATA = "recipe", "recipe.", "data"

S = TypeVar("S", RunSpec, ScaledNetwork)
Change = dict[str, Any]  # dotted path -> new value
Names = Annotated[
    Several[str], BeforeValidator(lambda given: (given,) if isinstance(given, str) else given)
]


class Remark(Value):
    """What the paper or its code says about the choice."""

    says: str
    source: str


class Ablation(Value):
    """One file of ablations/: a question, and the variants that answer it."""

    question: str
    base: Names  # each of these networks is changed by every variant
    # A named recipe that all variants are trained by, but for what they change, within the steps,
    # batch and patches of the config's recipe; default: the config's.
    recipe: Name | None = None
    variants: dict[Name, Change] = Field(min_length=2)
    published: tuple[Remark, ...] = ()
    expect: str  # the expected result, and why
    note: str = ""  # what else differs between the variants, such as parameter counts

    @model_validator(mode="after")
    def _one_variant_is_the_base(self) -> Self:
        unchanged = [name for name, change in self.variants.items() if not change]
        if len(unchanged) != 1:
            raise ValueError(
                f"variants: exactly one must be {{}}, the base itself; found {unchanged}"
            )
        return self

    @model_validator(mode="after")
    def _bases_exist(self) -> Self:
        for name in self.base:
            try:
                find(name)
            except SpecError as error:
                raise ValueError(f"base: {error}") from None
        return self

    @model_validator(mode="after")
    def _names_are_made(self) -> Self:
        for variant, patch in self.variants.items():
            if "name" in patch:
                raise ValueError(f"variants.{variant}.name: is made of what changes; leave it out")
        return self

    @property
    def reference(self) -> str:
        """The variant that is the base itself."""
        return next(name for name, change in self.variants.items() if not change)


class AblationRow(NamedTuple):
    """One variant of one base: a row of the ablation's table."""

    base: str
    variant: str
    network: ScaledNetwork  # of published size
    runs: tuple[RunSpec, ...]  # one per seed, with the config's `train.changes`

    def at_scales(self, scales: Iterable[Scale]) -> list[ScaledNetwork]:
        """The network of published size at other scales."""
        return [ScaledNetwork(network=self.network.network, scale=scale) for scale in scales]


def read_ablations(folder: Path = FOLDER) -> dict[str, Ablation]:
    """Read all ablations of a folder, by file name; SpecError names the file, key and rule.

    Without a folder, all that hitsr ships and all of ablations/ here; of two with one name, that is
    used which is here.
    """
    if folder.exists() and not folder.is_dir():
        raise SpecError(f"{folder}: not a folder; name the folder of ablations")
    folders = ablation_folders(folder)
    if not any(each.is_dir() for each in folders):
        raise not_shipped(folder, "--ablations")
    return {
        name: found
        for each in folders
        for name, found in Ablation.read_all(each, "ablations").items()
    }


def ablation_folders(folder: Path = FOLDER) -> list[Path]:
    """The folders that `read_ablations` reads; the last one that has a file of a name counts."""
    return everywhere(folder) if folder == FOLDER else [folder]


def pick(names: Iterable[str], known: dict[str, Ablation], where: str) -> dict[str, Ablation]:
    """The ablations called `names`; SpecError for an unknown name suggests the nearest one."""
    for name in names:
        if name not in known:
            raise SpecError(f"{where}: no ablation {shortened(name)}; {did_you_mean(name, known)}")
    return {name: known[name] for name in names}


def ablation_rows(name: str, ablation: Ablation, config: Config) -> tuple[AblationRow, ...]:
    """All rows, fully checked; each base is followed by its variants.

    Scale, recipe and seeds are the config's; the scale is the smallest one that it trains. Raises
    SpecError with file, variant and rule if a variant changes nothing or is impossible.
    """
    if config.train is None:
        raise SpecError(f"{config.name}: trains nothing, so it cannot have ablations; add `train`")
    scale = min(config.train.scales)
    if isinstance(config.train.start_from.get(scale), Path):
        raise SpecError(
            f"{config.name}: starts x{scale} from a file of weights, which fits no variant; "
            "ablate with a config whose networks start from random weights"
        )
    order = sorted(ablation.variants, key=lambda variant: variant != ablation.reference)
    return tuple(
        _row(base, variant, ablation, config, name) for base in ablation.base for variant in order
    )


def _row(base: str, variant: str, ablation: Ablation, config: Config, name: str) -> AblationRow:
    train, change = config.train, ablation.variants[variant]
    assert train is not None
    where, scale = f"ablations/{name}.yaml: variants.{variant}", min(train.scales)
    of_network = {key: value for key, value in change.items() if not _is_of_run(key)}
    full = find(base)
    network = full.with_changes(of_network, where)
    network = network.model_copy(update={"name": _name(full, network)})
    made = (
        _changed(fresh_run(config, train, base, scale, seed), change, ablation.recipe, where)
        for seed in train.seeds
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
    """Runs of all networks of the zoo that the config's `train.changes` can be applied to."""
    found = {}
    for name, seed in product(ZOO, train.seeds):
        with suppress(SpecError):
            run = fresh_run(config, train, name, scale, seed)
            found[run.name] = run
    return found


def _changed(planned: RunSpec, change: Change, by: str | None, where: str) -> RunSpec:
    """A config's run with a change, named after what differs; `by`: a recipe for all variants."""
    of_network = {key: value for key, value in change.items() if not _is_of_run(key)}
    of_recipe = {
        key.removeprefix(_OF_RECIPE): value
        for key, value in change.items()
        if key.startswith(_OF_RECIPE)
    }
    base = planned.model_copy(update={"recipe": _recipe(planned, by, where)})
    named = change.get(_RECIPE, by)
    begun = _recipe(planned, named, where)
    network = planned.network.with_changes(of_network, where)
    recipe = Recipe.parse({**begun.model_dump(), **of_recipe}, f"{where}: recipe")
    data = change.get(_DATA, planned.data)
    changes = {"network": network, "recipe": recipe, "data": data}
    changed = RunSpec.parse({**dict(base), **changes}, where)
    if change and changed == base:
        raise SpecError(
            f"{where}: changes nothing in {planned.network.name} as {planned.name} trains it; "
            "remove it or correct its values"
        )
    extra = {_RECIPE: named} if begun != planned.recipe else {}
    extra |= {key: getattr(recipe, key) for key in of_recipe}
    extra |= {_DATA: data} if data != planned.data else {}
    name = _name(planned.network, network, extra)
    return changed.model_copy(update={"network": network.model_copy(update={"name": name})})


def _recipe(planned: RunSpec, name: Any, where: str) -> Recipe:
    """The recipe of a config's run, or a named one within its budget."""
    if name is None:
        return planned.recipe
    if not isinstance(name, str):
        raise SpecError(f"{where}: recipe: must be the name of a recipe (got {shortened(name)})")
    return fitted(name, planned.network.name, planned.scale, planned.recipe, where)


def _is_of_run(key: str) -> bool:
    return key in (_RECIPE, _DATA) or key.startswith(_OF_RECIPE)


def _shared(made: S, known: Iterable[S]) -> S:
    """The known value that differs from `made` only in its name, if there is one; else `made`."""
    return next((each for each in known if _nameless(each) == _nameless(made)), made)


def _nameless(value: RunSpec | ScaledNetwork) -> RunSpec | ScaledNetwork:
    return value.model_copy(
        update={"network": value.network.model_copy(update={"name": "nameless"})}
    )


def _name(base: NetworkSpec, changed: NetworkSpec, extra: Change | None = None) -> str:
    """`hit_sir.ratios_1_1_1_1_1_1`: the base, then each field that differs, with its value."""
    before, after = flat(base.model_dump()), flat(changed.model_dump())
    if base.mixer.kind != changed.mixer.kind:
        # Default values of the new mixer add nothing to its kind.
        default = type(changed.mixer)().model_dump()
        before = {**before, **flat({"mixer": default}), "mixer.kind": base.mixer.kind}
    differing = {key: value for key, value in after.items() if before.get(key, ...) != value}
    words = [_word(key, value) for key, value in (differing | (extra or {})).items()]
    return cut_name(".".join([base.name, *words]), LONGEST_NAME)


def _word(path: str, value: object) -> str:
    *above, field = path.split(".")
    name = above[-1] if field == "kind" else field
    return f"{name}_{_text(value)}"


def _text(value: object) -> str:
    """A value in characters that names may have."""
    match value:
        case None:
            return "none"
        case bool():
            return "on" if value else "off"
        case float():
            return f"{value:.9f}".rstrip("0").rstrip(".")
        case tuple() | list():
            return "_".join(map(_text, value))
    return re.sub("[%~]", "_", quote(str(value), safe="")).lower()
