"""The learning rate schedule, a pure function of the step."""

import math

from hitsr.specs.recipe import Recipe


def learning_rate(recipe: Recipe, step: int) -> float:
    """The learning rate of a step (counted from 1), which is greater than 0.

    It is the product of `learning_rate` and three factors, each 1 where a recipe lacks it:

    - warm-up: in the n-th of `warm_up` steps after `upsampler_only` it is n / warm_up, as in
      BasicSR, so the last one already has the full rate.
    - milestones: `decay` for each milestone before this step. A milestone is thus the last step at
      the old rate, as in BasicSR. Milestones are counted from the first step of training; one
      within the warm-up counts too.
    - cosine: from 1 in the step after the warm-up to nearly `cosine_to` in the last step, as of
      torch's CosineAnnealingLR, which reaches its end one step after the last.
    """
    rate = recipe.learning_rate
    begun = step - recipe.upsampler_only
    if 0 < begun < recipe.warm_up:
        rate *= begun / recipe.warm_up
    rate *= recipe.decay ** sum(step > milestone for milestone in recipe.milestones)
    first = recipe.upsampler_only + recipe.warm_up
    if recipe.cosine_to is not None and step > first:
        part = (step - 1 - first) / (recipe.steps - first)
        height = (1 + math.cos(math.pi * part)) / 2
        rate *= recipe.cosine_to + (1 - recipe.cosine_to) * height
    return rate
