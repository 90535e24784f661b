import math
from itertools import pairwise
from typing import Any

import pytest

from hitsr.specs.recipe import Recipe
from hitsr.specs.recipes import named_recipes
from hitsr.training.schedule import learning_rate

torch = pytest.importorskip("torch")
schedulers = torch.optim.lr_scheduler
FULL = 0.8


def _recipe(**changes: Any) -> Recipe:
    return Recipe(**{"steps": 10, "batch": 1, "patch": 8, "learning_rate": FULL} | changes)


def _rates(recipe: Recipe) -> list[float]:
    return [learning_rate(recipe, step) for step in range(1, recipe.steps + 1)]


def _optimizer() -> Any:
    return torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=FULL)


def _of_torch(optimizer: Any, schedule: Any, steps: int) -> list[float]:
    """The rates at which torch's optimizer takes its steps."""
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def test_the_rate_halves_after_each_milestone():
    rates = _rates(_recipe(milestones=(3, 4, 8)))
    assert rates == pytest.approx([0.8, 0.8, 0.8, 0.4, 0.2, 0.2, 0.2, 0.2, 0.1, 0.1])


def test_the_rate_is_constant_without_milestones():
    assert set(_rates(_recipe())) == {FULL}


def test_milestones_are_those_of_torch():
    optimizer = _optimizer()
    theirs = _of_torch(optimizer, schedulers.MultiStepLR(optimizer, [2, 7], gamma=0.3), 10)
    assert _rates(_recipe(milestones=(2, 7), decay=0.3)) == pytest.approx(theirs)


@pytest.mark.parametrize(
    "milestones", [(6, 9), (2, 6), (4,)], ids=["after", "within", "at its end"]
)
def test_warm_up_and_milestones_are_the_product_of_torchs(milestones: tuple[int, ...]):
    optimizer = _optimizer()
    both = [
        schedulers.LinearLR(optimizer, start_factor=1 / 4, total_iters=3),
        schedulers.MultiStepLR(optimizer, list(milestones), gamma=0.5),
    ]
    theirs = _of_torch(optimizer, schedulers.ChainedScheduler(both, optimizer), 12)
    assert _rates(_recipe(steps=12, warm_up=4, milestones=milestones)) == pytest.approx(theirs)


@pytest.mark.parametrize("lowest", [0.0, 0.25])
def test_the_cosine_is_torchs(lowest: float):
    optimizer = _optimizer()
    schedule = schedulers.CosineAnnealingLR(optimizer, T_max=10, eta_min=lowest * FULL)
    rates = _rates(_recipe(cosine_to=lowest))
    assert rates == pytest.approx(_of_torch(optimizer, schedule, 10))
    assert rates[-1] > lowest * FULL


def test_a_cosine_after_a_warm_up_is_torchs():
    optimizer = _optimizer()
    parts = [
        schedulers.LinearLR(optimizer, start_factor=1 / 4, total_iters=3),
        schedulers.CosineAnnealingLR(optimizer, T_max=8, eta_min=0.1 * FULL),
    ]
    theirs = _of_torch(optimizer, schedulers.SequentialLR(optimizer, parts, milestones=[4]), 12)
    rates = _rates(_recipe(steps=12, warm_up=4, cosine_to=0.1))
    assert rates == pytest.approx(theirs)
    assert rates[3] == rates[4] == FULL


def test_the_warm_up_is_basicsrs_up_to_a_rounding_of_its_own():
    """BasicSR steps the scheduler before each step but the first, then sets the rate of a warm-up.

    Its scheduler multiplies what it finds, and so keeps the rate that the warm-up set last:
    (warm_up - 1) / warm_up of the full rate, 0.005 % less after 20 000 steps.
    """
    warm_up, milestones = 4, [6, 9]
    optimizer = _optimizer()
    schedule = schedulers.MultiStepLR(optimizer, milestones, gamma=0.5)
    theirs = []
    for step in range(1, 13):
        if step > 1:
            schedule.step()
        if step < warm_up:
            optimizer.param_groups[0]["lr"] = FULL / warm_up * step
        theirs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
    ours = _rates(_recipe(steps=12, warm_up=warm_up, milestones=milestones))
    assert ours[: warm_up - 1] == pytest.approx(theirs[: warm_up - 1])
    kept = [rate * (warm_up - 1) / warm_up for rate in ours[warm_up - 1 :]]
    assert kept == pytest.approx(theirs[warm_up - 1 :])


def test_the_upsampler_alone_learns_at_the_full_rate_and_then_the_warm_up_begins():
    rates = _rates(_recipe(steps=9, upsampler_only=3, warm_up=4, milestones=(8,)))
    assert rates == pytest.approx([0.8, 0.8, 0.8, 0.2, 0.4, 0.6, 0.8, 0.8, 0.4])


def _published_ng(step: int, scale: int) -> float:
    """The rate of a step in SwinIR-NG's code, which counts epochs of 1 000 steps from 0."""
    epoch = (step - 1) / 1000
    if scale != 2:
        if epoch < 50:
            return 4e-4
        epoch -= 50
    if epoch < 20:
        return 4e-4 * epoch / 20
    return 4e-4 / 2 ** sum(epoch > halved for halved in (200, 300, 400, 425, 450, 475))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_swinir_ngs_recipe_has_its_codes_rates_one_step_earlier(scale: Any):
    recipe = named_recipes()["swinir_ng"].at(scale)
    for step in (1, 2, 777, 20_000, 200_000, 200_001, 300_000, 425_001, 460_000, 499_999):
        ours = learning_rate(recipe, step)
        assert ours == pytest.approx(_published_ng(step + 1, scale), rel=1e-9), step


@pytest.mark.parametrize("name", ["hit_sr", "srformer_light", "swinir_light"])
def test_other_recipes_halve_the_rate_four_times(name: str):
    for scale in (2, 3, 4):
        recipe = named_recipes()[name].at(scale)  # type: ignore[arg-type]
        rates = [learning_rate(recipe, step) for step in (1, *recipe.milestones, recipe.steps)]
        assert [a / b for a, b in pairwise(rates)] == pytest.approx([1, 2, 2, 2, 2])
        assert math.isclose(rates[0], recipe.learning_rate)
