"""The training that a config asks for beside the published ones: whether its PSNR can be judged."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hitsr.records import TrainingRecord
from hitsr.report.comparable import (
    PAPER_TRAINING_PICTURES,
    has_full_steps,
    recipe_differences,
    steps_words,
)
from hitsr.report.dotted import at
from hitsr.report.evidence import Evidence
from hitsr.report.facts import degradations, hindrance_of
from hitsr.report.names import BICUBIC, label
from hitsr.report.typeset import between, counted, fixed, listed
from hitsr.specs.config import Config, runs
from hitsr.specs.recipe import Recipe
from hitsr.specs.recipes import RecipeUse, find_recipe, resolved
from hitsr.specs.run import RunSpec
from hitsr.specs.zoo import NETWORKS, find

# Fields as readers who do not know the spec would call them.
_FIELDS = {
    "depths": "groups of blocks",
    "windows.base": "base of the windows",
    "windows.ratios": "ratios of the windows",
}


@dataclass(frozen=True)
class Budget:
    """The training that a config describes, with what its records add."""

    # Of the first network at the smallest scale; None where weights are scored as released.
    recipe: Recipe | None
    recipes: tuple[str, ...]  # by which recipe each network is trained, and how it was published
    is_one_recipe: bool  # whether all networks of a scale are trained by one
    steps: str  # "1 200 of 500 000 iterations"; where nothing is trained, whose weights are scored
    seeds: int
    reduction: str  # "groups of blocks 1 instead of 4"; empty for networks of published size
    training_set: str | None
    training_pictures: int | None  # None before any training is finished
    tested: str  # "5 pictures of “test”"; empty before any is scored
    weights: str  # where they are from: "training", "released weights and own networks"
    hindrance: str  # why PSNR and SSIM may not be judged; empty if they may

    @property
    def is_papers(self) -> bool:
        """Whether the paper's own weights were scored, or networks trained by its protocol."""
        return not self.hindrance

    @property
    def pictures(self) -> str:
        """ "12 training pictures, not 800", once a training has counted them."""
        if self.training_pictures is None:
            return f"the set “{self.training_set}”"
        words = counted(self.training_pictures, "training picture")
        if self.training_pictures == PAPER_TRAINING_PICTURES:
            return words
        return f"{words}, not {fixed(PAPER_TRAINING_PICTURES)}"


def budget_of(evidence: Evidence) -> Budget:
    config, train = evidence.config, evidence.config.train
    tested = {
        evidence.set_name(row.dataset or ""): counted(len(row.items), "picture")
        for row in evidence.facts.find("psnr_db", BICUBIC)
        if row.dataset in config.data.test
    }
    lr = degradations(evidence.results)
    planned = tuple(runs(config).values())
    reasons = (hindrance_of(run, None, run.scale, lr) for run in planned)
    changes = train.changes.items() if train else ()
    trainings = evidence.results.of(TrainingRecord)
    return Budget(
        recipe=_first_recipe(config),
        recipes=tuple(_recipe_words(config, planned)),
        is_one_recipe=len({(run.scale, run.recipe) for run in planned})
        == len({run.scale for run in planned}),
        steps=_steps(config, planned),
        seeds=len(train.seeds) if train else 1,
        reduction=", ".join(_change(config, *change) for change in changes),
        training_set=config.data.train,
        training_pictures=next((record.pictures for record in trainings), None),
        tested=listed([f"{pictures} of {name}" for name, pictures in tested.items()]),
        weights=_weights(config),
        hindrance=next(filter(None, reasons), ""),
    )


def _first_recipe(config: Config) -> Recipe | None:
    if config.train is None:
        return None
    network, scale = (*config.networks, *NETWORKS)[0], min(config.train.scales)
    return resolved(config.train.recipe, network, scale, config.name)


def _steps(config: Config, planned: Sequence[RunSpec]) -> str:
    first = _first_recipe(config)
    if first is None:
        return _weights(config).replace("released weights", "weights as released")
    counts = tuple({run.recipe.steps for run in planned}) or (first.steps,)
    if len(counts) == 1:
        return steps_words(counts[0])
    as_published = ", as published" * all(map(has_full_steps, planned))
    return f"{between(counts, 0)} iterations{as_published}"


def _recipe_words(config: Config, planned: Sequence[RunSpec]) -> Iterator[str]:
    """ "SwinIR-Light: by hit_sr; not as published, by learning rate 0.0005 instead of 0.0002"."""
    assert config.train is not None or not planned
    said: dict[str, dict[str, list[str]]] = {}
    for run in planned:
        words = recipe_differences(run)
        how = f"not as published, by {words}" if words else "as published"
        scales = said.setdefault(f"{_by(config, run)}; {how}", {}).setdefault(run.network.name, [])
        scales += [f"×{run.scale}"] * (f"×{run.scale}" not in scales)
    for words, networks in said.items():
        names = [
            label(name)
            if len(scales) == len(config.scales)
            else f"{label(name)} {' '.join(scales)}"
            for name, scales in networks.items()
        ]
        yield f"{listed(names)}: {words}."


def _by(config: Config, run: RunSpec) -> str:
    """ "by hit_sr", "by the configuration’s recipe"."""
    given = config.train.recipe if config.train else None
    if not isinstance(given, RecipeUse):
        return "by the configuration’s recipe"
    name, _ = find_recipe(given.name, run.network.name, config.name)
    return f"by {name}, changed" if given.changes else f"by {name}"


def _weights(config: Config) -> str:
    known = {
        "training": config.train,
        "released weights": config.weights,
        "own networks": config.own,
    }
    return listed([words for words, is_there in known.items() if is_there]) or "no weights"


def _change(config: Config, path: str, value: Any) -> str:
    """A changed field beside its published value, where the networks agree on one."""
    originals = {_words(path, at(find(name), path)) for name in config.networks}
    text = f"{_FIELDS.get(path, path.replace('.', ' '))} {_words(path, value)}"
    return f"{text} instead of {originals.pop()}" if len(originals) == 1 else text


def _words(path: str, value: Any) -> str:
    if path == "depths":
        return str(len(value))
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
