"""The learning rate as a pure function of the step."""

from hitsr.specs.config import Recipe


def learning_rate(recipe: Recipe, step: int) -> float:
    """The rate of a step, counted from 1: multiplied by `decay` after each milestone.

    With a milestone at 250, step 250 is the last at the old rate, as in BasicSR, which the
    published networks were trained by.
    """
    passed = sum(step > milestone for milestone in recipe.milestones)
    return recipe.learning_rate * recipe.decay**passed
