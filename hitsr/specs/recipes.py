"""Named recipes: the files of configs/recipes, and what a config makes of one.

A run holds the whole recipe, never its name: names are resolved here, and nothing else knows them.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_serializer, model_validator

from hitsr.base.errors import SpecError, did_you_mean, shortened
from hitsr.base.files import visible
from hitsr.base.shipped import everywhere
from hitsr.base.values import Distinct, Several, Value
from hitsr.specs.network import Scale
from hitsr.specs.recipe import Gate, Recipe
from hitsr.specs.run import RunSpec
from hitsr.specs.zoo import find

FOLDER = Path("configs/recipes")
OWN = "own"  # in place of a name: the recipe by which each network was published
# Fields of the budget and of the computer, which a comparison of recipes leaves alone.
_BUDGET = ("steps", "batch", "parts", "patch", "log_every", "validate_every", "validated")
_COMPUTING = ("precision", "deterministic")
# Fields whose change leaves a training what it was, but for what is logged and for rounding.
_ASIDE = frozenset({"parts", "log_every", "validate_every", "validated", *_COMPUTING})


class NamedRecipe(Value):
    """How somebody trained networks, and where that is said: one file of configs/recipes."""

    source: Several[str]
    networks: Distinct[str] = ()  # whose own recipe it is
    recipe: Recipe
    scales: dict[Scale, dict[str, Any]] = Field(default={})  # fields with other values at a scale
    start_from: dict[Scale, Scale] = Field(default={})  # {3: 2}: x3 starts from the x2 run
    gates: tuple[Gate, ...] = ()

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        try:
            recipes = {scale: self.at(scale) for scale in (2, 3, 4)}
            for name in (*self.networks, *(gate.network for gate in self.gates)):
                find(name)
        except SpecError as error:
            raise ValueError(str(error)) from None
        for scale, start in self.start_from.items():
            if start >= scale:
                raise ValueError(f"start_from: x{scale} cannot start from x{start}, not smaller")
        for gate in self.gates:
            if gate.step > recipes[gate.scale].steps:
                raise ValueError(f"gates: step {gate.step} is beyond the last one")
        return self

    def at(self, scale: Scale, steps: int | None = None) -> Recipe:
        """The recipe at a scale; `steps`: of the recipe as written, if not its own number of them.

        With another number of steps, all that is counted in steps and changes weights is scaled in
        proportion, and each scale keeps its share of the steps.
        """
        fields = {**self.recipe.model_dump(), **self.scales.get(scale, {})}
        recipe = Recipe.parse(fields, f"scales.{scale}")
        return scaled(recipe, recipe.steps * (steps or self.recipe.steps) / self.recipe.steps)


def scaled(recipe: Recipe, steps: float) -> Recipe:
    """The recipe for another number of steps: warm-up and milestones keep their share of them.

    The steps between logs and validations stay. Where so few steps are left that milestones fall
    together, one of them remains.
    """
    whole = max(1, round(steps))
    passed = (round(milestone * whole / recipe.steps) for milestone in recipe.milestones)
    changes = {
        "steps": whole,
        "warm_up": recipe.warm_up * whole // recipe.steps,
        "upsampler_only": recipe.upsampler_only * whole // recipe.steps,
        "milestones": tuple(dict.fromkeys(step for step in passed if 0 < step < whole)),
    }
    return recipe.model_copy(update=changes)


class RecipeUse(Value):
    """What a config says instead of a recipe: `hit_sr`, or `{from: hit_sr, steps: 10000}`."""

    name: str  # of a recipe, or `own`
    changes: dict[str, Any] = Field(default={})

    @model_validator(mode="before")
    @classmethod
    def _from_words(cls, data: Any) -> Any:
        if isinstance(data, str):
            return {"name": data}
        if isinstance(data, dict) and "from" in data:
            changes = {key: value for key, value in data.items() if key != "from"}
            return {"name": data["from"], "changes": changes}
        return data

    @model_serializer
    def _to_words(self) -> Any:
        return {"from": self.name, **self.changes} if self.changes else self.name


def recipe_or_use(given: Any) -> Any:
    """A config's recipe as a value: of its fields, or of its name."""
    match given:
        case str() | {"from": _}:
            return RecipeUse.model_validate(given)
        case dict():
            return Recipe.model_validate(given)
        case Recipe() | RecipeUse():
            return given
    raise ValueError("must be the name of a recipe, `own`, or fields, each `name: value`")


def named_recipes() -> Mapping[str, NamedRecipe]:
    """All named recipes: those of hitsr's checkout, and those of configs/recipes here.

    Of two with one name, that is used which is here. SpecError names a file that is not valid.
    """
    found: dict[str, NamedRecipe] = {}
    for folder in everywhere(FOLDER):
        files = {file: file.stat() for file in visible(folder, "*.y*ml")}
        status = ((file, each.st_size, each.st_mtime_ns) for file, each in files.items())
        found |= _read(folder, tuple(status))
    return found


@cache
def _read(folder: Path, _status: tuple[tuple[Path, int, int], ...]) -> dict[str, NamedRecipe]:
    """The recipes of a folder, which are asked for many times; files of these sizes and times."""
    found = NamedRecipe.read_all(folder, "recipes")
    if OWN in found:
        raise SpecError(
            f"{folder}: a recipe called {OWN}, which stands for each network's; rename it"
        )
    return found


def find_recipe(name: str, network: str, where: str) -> tuple[str, NamedRecipe]:
    """The recipe of that name, or the network's own; SpecError begins with `where`."""
    known = named_recipes()
    if name != OWN:
        if name not in known:
            hint = did_you_mean(name, [*known, OWN])
            raise SpecError(f"{where}: no recipe {shortened(name)} in {FOLDER}; {hint}")
        return name, known[name]
    found = [each for each, recipe in known.items() if network in recipe.networks]
    if len(found) != 1:
        said = f"{', '.join(found)} all say that they are" if found else "none is"
        raise SpecError(
            f"{where}: own: of the recipes in {FOLDER}, {said} {network}'s own; name it under "
            "`networks` of one file"
        )
    return found[0], known[found[0]]


def resolved(given: Recipe | RecipeUse, network: str, scale: Scale, where: str) -> Recipe:
    """The recipe of one network at one scale, every value explicit; SpecError begins with `where`.

    Changes hold at every scale, but for `steps`: these are of x2, and scales whose training is
    shorter or longer in the named recipe keep their share.
    """
    if isinstance(given, Recipe):
        return given
    _, named = find_recipe(given.name, network, where)
    steps = given.changes.get("steps")
    is_number = isinstance(steps, int) and not isinstance(steps, bool) and steps > 0
    base = named.at(scale, steps if is_number else None)
    changes = {k: v for k, v in given.changes.items() if not (k == "steps" and is_number)}
    return Recipe.parse({**base.model_dump(), **changes}, where)


def fitted(name: str, network: str, scale: Scale, budget: Recipe, where: str) -> Recipe:
    """A named recipe within the budget of another: its steps, batch and patches, and its precision.

    So recipes are compared in what they do with equally many steps and pictures.
    """
    _, named = find_recipe(name, network, where)
    of_budget = {field: getattr(budget, field) for field in (*_BUDGET, *_COMPUTING)}
    return scaled(named.at(scale), budget.steps).model_copy(update=of_budget)


def differences(recipe: Recipe, other: Recipe) -> dict[str, tuple[Any, Any]]:
    """Fields that make two trainings differ, each with both values; none for equal ones."""
    return {
        field: (mine, theirs)
        for field in Recipe.model_fields
        if field not in _ASIDE
        and (mine := getattr(recipe, field)) != (theirs := getattr(other, field))
    }


def published_recipe(network: str, scale: Scale) -> tuple[str, Recipe] | None:
    """Name and value of the recipe by which a network was published; None if no file says."""
    for name, named in named_recipes().items():
        if network in named.networks:
            return name, named.at(scale)
    return None


def gates_of(run: RunSpec) -> tuple[Gate, ...]:
    """Gates of named recipes for this run: its network as published, scale, set and recipe."""
    return tuple(
        gate
        for named in named_recipes().values()
        if _trains(named, run)
        for gate in named.gates
        if (gate.scale, gate.validation) == (run.scale, run.validation)
        and find(gate.network) == run.network
    )


def _trains(named: NamedRecipe, run: RunSpec) -> bool:
    """Whether a run is trained, and begins, as a named recipe says."""
    start = run.start_from.scale if isinstance(run.start_from, RunSpec) else run.start_from
    return (
        not differences(run.recipe, named.at(run.scale))
        and named.start_from.get(run.scale) == start
    )
