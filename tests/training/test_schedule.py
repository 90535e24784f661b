import pytest

from hitsr.specs.recipe import Recipe
from hitsr.training.schedule import learning_rate


def _recipe(**changes) -> Recipe:
    return Recipe(steps=10, batch=1, patch=8, learning_rate=0.8, **changes)


def test_the_rate_halves_after_each_milestone():
    recipe = _recipe(milestones=(3, 4, 8))
    rates = [learning_rate(recipe, step) for step in range(1, 11)]
    assert rates == pytest.approx([0.8, 0.8, 0.8, 0.4, 0.2, 0.2, 0.2, 0.2, 0.1, 0.1])


def test_agrees_with_torchs_scheduler():
    torch = pytest.importorskip("torch")
    recipe = _recipe(milestones=(2, 7), decay=0.3)
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=0.8)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 7], gamma=0.3)
    for step in range(1, 11):
        assert learning_rate(recipe, step) == pytest.approx(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()


def test_the_rate_is_constant_without_milestones():
    assert learning_rate(_recipe(), 10) == 0.8
