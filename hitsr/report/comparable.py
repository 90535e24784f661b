"""What may be held against the paper's numbers, and why not: trainings, sizes and devices."""

import re
from collections.abc import Iterator

from hitsr.records import BICUBIC_LR
from hitsr.report.typeset import fixed, listed, size
from hitsr.specs.run import RunSpec, StartWeights
from hitsr.specs.zoo import NETWORKS

PAPER_OUTPUT = (1280, 720)  # width, height that its FLOPs and run times are of
# The paper's training budget, from the options files of its code.
PAPER_STEPS = 500_000
PAPER_BATCH = 64
PAPER_PATCH = 64
PAPER_TRAINING_SET = "DIV2K"
PAPER_TRAINING_PICTURES = 800
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


def starts_from_file(run: RunSpec) -> bool:
    """Whether a run, or one that it starts from, starts from a file of weights."""
    start = run.start_from
    return start is not None and (isinstance(start, StartWeights) or starts_from_file(start))


def _reasons(run: RunSpec) -> Iterator[str]:
    recipe, published = run.recipe, NETWORKS.get(run.network.name)
    if recipe.steps != PAPER_STEPS:
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
