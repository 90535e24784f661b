"""What may be held against the paper's numbers, and why not: trainings, sizes and devices."""

import re
from collections.abc import Iterator
from typing import Any

from hitsr.records import BICUBIC_LR
from hitsr.report.typeset import fixed, listed, size
from hitsr.specs.recipes import differences, published_recipe, scaled
from hitsr.specs.run import RunSpec, StartWeights
from hitsr.specs.zoo import NETWORKS

PAPER_OUTPUT = (1280, 720)  # width, height that its FLOPs and run times are of
# The paper's training budget, from the options files of its code; `specs.recipes` knows the rest.
PAPER_STEPS = 500_000
PAPER_BATCH = 64
PAPER_PATCH = 64
PAPER_TRAINING_SET = "DIV2K"
PAPER_TRAINING_PICTURES = 800
# Fields of a recipe as readers would call them, where their name does not say it.
_FIELDS = {
    "betas": "Adam’s betas",
    "ema": "average of weights (EMA)",
    "upsampler_only": "steps of the upsampler alone",
    "warm_up": "warm-up",
}
# Words in the names of GPUs for data centres, such as the paper's A100.
_DATA_CENTRE = frozenset(
    {
        "Tesla", "Instinct", "K80", "P4", "P40", "P100", "T4", "V100", "A2", "A10", "A10G", "A16",
        "A30", "A40", "A100", "A800", "L4", "L20", "L40", "L40S", "H20", "H100", "H200", "H800",
        "GH200", "B100", "B200", "B300", "GB200", "GB300",
    }
)  # fmt: skip


def hindrance(
    run: RunSpec | None, trained_on: str = BICUBIC_LR, scored_on: str = BICUBIC_LR
) -> str:
    """Why numbers of a run are shown but not judged; empty for the paper's protocol.

    `run` is None for what was not trained here; `trained_on` and `scored_on` say how the LR
    pictures were made. Seeds play no part here: how few there are shows in intervals, which claims
    of differences ask for.
    """
    reasons = list(_reasons(run)) if run else []
    for use, degradation in (("trained", trained_on), ("scored", scored_on)):
        if degradation != BICUBIC_LR:
            reasons.append(f"{use} on other low-resolution pictures than bicubic ones")
    return f"not judged: {listed(reasons)}" if reasons else ""


def recipe_hindrance(run: RunSpec | None) -> str:
    """Why numbers of a run are not held against printed ones, though its budget is the paper's.

    Each network was published with a recipe of its own. By another one its numbers may be compared
    with those of others that were trained so, and not with print.
    """
    if run is None or run.network.name not in NETWORKS:
        return ""
    words = recipe_differences(run)
    return f"not judged: trained otherwise than published, by {words}" if words else ""


def recipe_differences(run: RunSpec) -> str:
    """In what a run's recipe is not the one that its network was published with; else empty.

    Milestones and warm-up are compared as shares of the steps.
    """
    published = published_recipe(run.network.name, run.scale)
    if published is None:
        return ""
    _, theirs = published
    found = differences(run.recipe, scaled(theirs, run.recipe.steps))
    if run.recipe.steps != theirs.steps:
        found = {"steps": (run.recipe.steps, theirs.steps)} | found
    return listed(
        [
            f"{_FIELDS.get(field, field.replace('_', ' '))} {_written(mine)} instead of "
            f"{_written(printed)}"
            for field, (mine, printed) in found.items()
        ]
    )


def _written(value: Any) -> str:
    """A value of a recipe, as readers write it."""
    match value:
        case None:
            return "none"
        case tuple():
            return "/".join(map(_written, value)) or "none"
        case int():
            return fixed(value)
    return f"{value:g}"


def size_hindrance(output_size: tuple[int, int]) -> str:
    """Why a cost is shown but not judged: the paper's are of one output size."""
    if output_size == PAPER_OUTPUT:
        return ""
    return f"not judged: at an output of {size(*output_size)} instead of {size(*PAPER_OUTPUT)}"


def is_data_centre(device_name: str) -> bool:
    """Whether a GPU of this name is made for data centres."""
    return not _DATA_CENTRE.isdisjoint(re.findall(r"\w+", device_name))


def steps_words(steps: int) -> str:
    """ "900 of 500 000 iterations"."""
    if steps == PAPER_STEPS:
        return f"{fixed(PAPER_STEPS)} iterations, as the paper"
    return f"{fixed(steps)} of {fixed(PAPER_STEPS)} iterations"


def has_full_steps(run: RunSpec) -> bool:
    """Whether a run has as many steps as the paper, or as its network was published with."""
    published = published_recipe(run.network.name, run.scale)
    return run.recipe.steps in (PAPER_STEPS, published[1].steps if published else PAPER_STEPS)


def starts_from_file(run: RunSpec) -> bool:
    """Whether a run, or one that it starts from, starts from a file of weights."""
    start = run.start_from
    return start is not None and (isinstance(start, StartWeights) or starts_from_file(start))


def _reasons(run: RunSpec) -> Iterator[str]:
    recipe, published = run.recipe, NETWORKS.get(run.network.name)
    if not has_full_steps(run):
        yield steps_words(recipe.steps)
    if recipe.batch != PAPER_BATCH:
        yield f"batch {recipe.batch} instead of {PAPER_BATCH}"
    if recipe.patch != PAPER_PATCH:
        yield f"patches of {recipe.patch} instead of {PAPER_PATCH} pixels"
    if published is not None and run.network != published:
        yield "networks reduced in size"
    if starts_from_file(run):
        yield "started from a file of weights"
    if run.data != PAPER_TRAINING_SET:
        yield f"trained on “{run.data}”"
