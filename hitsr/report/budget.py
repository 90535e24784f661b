"""What a run spent, against what the paper spent: the reason its numbers may not be judged."""

from dataclasses import dataclass
from functools import reduce
from typing import Any

from hitsr.report.measures import Evidence
from hitsr.report.names import BICUBIC
from hitsr.report.published import (
    PAPER_BATCH,
    PAPER_STEPS,
    PAPER_TRAINING_PICTURES,
    PAPER_TRAINING_SET,
)
from hitsr.report.typeset import counted, fixed, listed
from hitsr.specs.config import Config, Recipe
from hitsr.specs.zoo import find

# Fields as readers who do not know the spec would call them.
_FIELDS = {"depths": "groups of blocks", "windows.base": "base of the windows"}


@dataclass(frozen=True)
class Budget:
    """The training that a config describes, with what its records add.

    Without any, weights were scored as somebody released them.
    """

    recipe: Recipe | None
    seeds: int
    reduction: str  # "groups of blocks 1 instead of 4"; empty for networks of published size
    training_set: str | None
    training_pictures: int | None  # None before any training is finished
    tested: str  # "5 pictures of “test”"; empty before any is scored

    @property
    def is_papers(self) -> bool:
        """Whether PSNR may be judged against the paper's: its own weights, or its own protocol."""
        if self.recipe is None:
            return True
        assert self.training_set is not None
        return (
            self.recipe.steps == PAPER_STEPS
            and self.recipe.batch == PAPER_BATCH
            and not self.reduction
            and self.training_set.startswith(PAPER_TRAINING_SET)
        )

    @property
    def steps(self) -> str:
        """ "1 200 of 500 000 iterations": the chip and the banner say it alike."""
        if self.recipe is None:
            return "weights as released"
        if self.recipe.steps == PAPER_STEPS:
            return f"{fixed(PAPER_STEPS)} iterations, as the paper"
        return f"{fixed(self.recipe.steps)} of {fixed(PAPER_STEPS)} iterations"

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
    config, results, train = evidence.config, evidence.results, evidence.config.train
    tested = {
        evidence.set_name(dataset): counted(len(record.pictures), "picture")
        for (run, dataset), record in results.quality.items()
        if dataset in config.data.test and run.startswith(BICUBIC)
    }
    return Budget(
        recipe=train.recipe if train else None,
        seeds=len(train.seeds) if train else 1,
        reduction=", ".join(_change(config, *change) for change in train.patch.items())
        if train
        else "",
        training_set=config.data.train,
        training_pictures=next((record.pictures for record in results.trainings), None),
        tested=listed([f"{pictures} of {name}" for name, pictures in tested.items()]),
    )


def _change(config: Config, path: str, value: Any) -> str:
    """A patched field beside its published value, where the networks agree on one."""
    originals = {_value(path, find(name).model_dump()) for name in config.networks}
    words = _FIELDS.get(path, path.replace(".", " "))
    text = f"{words} {_words(path, value)}"
    return f"{text} instead of {originals.pop()}" if len(originals) == 1 else text


def _value(path: str, network: dict[str, Any]) -> str:
    return _words(path, reduce(lambda here, part: here[part], path.split("."), network))


def _words(path: str, value: Any) -> str:
    return str(len(value)) if path == "depths" else str(value)
