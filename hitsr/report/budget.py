"""What a run spent, against what the paper spent: the reason its numbers may not be judged."""

from dataclasses import dataclass
from functools import reduce
from typing import Any

from hitsr.config import Recipe
from hitsr.report.measures import Evidence
from hitsr.report.names import BICUBIC
from hitsr.report.published import (
    PAPER_BATCH,
    PAPER_STEPS,
    PAPER_TRAINING_PICTURES,
    PAPER_TRAINING_SET,
)
from hitsr.report.typeset import counted, fixed, listed
from hitsr.zoo import find

# Fields as readers who do not know the spec would call them.
_FIELDS = {"depths": "groups of blocks", "windows.base": "base of the windows"}


@dataclass(frozen=True)
class Budget:
    """The training that a config describes, with what its records add."""

    recipe: Recipe
    seeds: int
    changes: dict[str, Any]  # to every trained network; empty: the published networks
    published: dict[str, Any]  # the same fields of the published networks, where all agree
    training_set: str
    training_pictures: int | None  # None before any training is finished
    test_pictures: dict[str, int]  # of the test sets scored so far, by their names in words
    trained_params: tuple[int, ...]  # of the finished trainings

    @property
    def is_papers(self) -> bool:
        """Whether PSNR may be judged against the paper's."""
        return (
            self.recipe.steps == PAPER_STEPS
            and self.recipe.batch == PAPER_BATCH
            and not self.changes
            and self.training_set.startswith(PAPER_TRAINING_SET)
        )

    @property
    def steps_words(self) -> str:
        """ "1 200 of 500 000 iterations": the chip and the banner say it alike."""
        if self.recipe.steps == PAPER_STEPS:
            return f"{fixed(PAPER_STEPS)} iterations, as the paper"
        return f"{fixed(self.recipe.steps)} of {fixed(PAPER_STEPS)} iterations"

    @property
    def pictures_words(self) -> str:
        """ "12 training pictures, not 800", once a training has counted them."""
        if self.training_pictures is None:
            return f"the set “{self.training_set}”"
        words = counted(self.training_pictures, "training picture")
        if self.training_pictures == PAPER_TRAINING_PICTURES:
            return words
        return f"{words}, not {fixed(PAPER_TRAINING_PICTURES)}"

    @property
    def reduction_words(self) -> str:
        """ "groups of blocks 1 instead of 4"; empty for published size."""
        return ", ".join(_change(path, self) for path in self.changes)

    @property
    def test_words(self) -> str:
        """ "5 pictures of “test”"."""
        sets = self.test_pictures.items()
        return listed([f"{counted(count, 'picture')} of {name}" for name, count in sets])


def budget_of(evidence: Evidence) -> Budget:
    config, results = evidence.config, evidence.results
    records = [training.record for training in results.training.values()]
    originals = [find(name).model_dump() for name in config.networks]
    return Budget(
        recipe=config.train.recipe,
        seeds=len(config.train.seeds),
        changes=config.train.patch,
        published={
            path: _at(originals[0], path)
            for path in config.train.patch
            if all(_at(original, path) == _at(originals[0], path) for original in originals)
        },
        training_set=config.data.train,
        training_pictures=records[0].pictures if records else None,
        test_pictures={
            evidence.set_name(dataset): len(record.pictures)
            for (run, dataset), record in results.quality.items()
            if dataset in config.data.test and run.startswith(BICUBIC)
        },
        trained_params=tuple(record.params for record in records),
    )


def _at(data: dict[str, Any], path: str) -> Any:
    return reduce(lambda here, part: here[part], path.split("."), data)


def _change(path: str, budget: Budget) -> str:
    words = f"{_FIELDS.get(path, path.replace('.', ' '))} {_value(path, budget.changes[path])}"
    if path not in budget.published:
        return words
    return f"{words} instead of {_value(path, budget.published[path])}"


def _value(path: str, value: Any) -> str:
    return str(len(value)) if path == "depths" else str(value)
