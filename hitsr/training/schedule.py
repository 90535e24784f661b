"""The learning rate schedule, a pure function of the step."""

from hitsr.specs.recipe import Recipe


def learning_rate(recipe: Recipe, step: int) -> float:
    """The learning rate of a step (counted from 1), multiplied by `decay` after each milestone.

    A milestone is the last step at the old rate, as in BasicSR, with which the published networks
    were trained.
    """
    passed = sum(step > milestone for milestone in recipe.milestones)
    return recipe.learning_rate * recipe.decay**passed
