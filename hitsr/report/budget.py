"""The training that a config asks for beside the paper's: whether its PSNR can be judged."""

from dataclasses import dataclass
from typing import Any

from hitsr.records import TrainingRecord
from hitsr.report.comparable import PAPER_TRAINING_PICTURES, steps_words
from hitsr.report.dotted import at
from hitsr.report.evidence import Evidence
from hitsr.report.facts import degradations, hindrance_of
from hitsr.report.names import BICUBIC
from hitsr.report.typeset import counted, fixed, listed
from hitsr.specs.config import Config, runs
from hitsr.specs.recipe import Recipe
from hitsr.specs.zoo import find

# Fields as readers who do not know the spec would call them.
_FIELDS = {
    "depths": "groups of blocks",
    "windows.base": "base of the windows",
    "windows.ratios": "ratios of the windows",
}


@dataclass(frozen=True)
class Budget:
    """The training that a config describes, with what its records add."""

    recipe: Recipe | None  # of the first run; None where nothing of the zoo is trained
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
    def steps(self) -> str:
        """ "1 200 of 500 000 iterations"; where nothing was trained, whose weights were scored."""
        if self.recipe is not None:
            return steps_words(self.recipe.steps)
        return self.weights.replace("released weights", "weights as released")

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
    reasons = (hindrance_of(run, None, run.scale, lr) for run in runs(config).values())
    changes = train.changes.items() if train else ()
    trainings = evidence.results.of(TrainingRecord)
    return Budget(
        recipe=next((run.recipe for run in runs(config).values()), None),
        seeds=len(train.seeds) if train else 1,
        reduction=", ".join(_change(config, *change) for change in changes),
        training_set=config.data.train,
        training_pictures=next((record.pictures for record in trainings), None),
        tested=listed([f"{pictures} of {name}" for name, pictures in tested.items()]),
        weights=_weights(config),
        hindrance=next(filter(None, reasons), ""),
    )


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
