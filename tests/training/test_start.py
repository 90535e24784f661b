import pytest
import torch
from torch import nn

from hitsr.base.errors import WeightsError
from hitsr.training.start import transfer_weights


class Toy(nn.Module):
    """A body and an upsampler; only the upsampler depends on the scale."""

    def __init__(self, scale: int, width: int = 4) -> None:
        super().__init__()
        self.body = nn.Linear(3, width)
        self.upsample = nn.Linear(width, 3 * scale**2)


def _same(one: nn.Module, other: nn.Module) -> dict[str, bool]:
    others = other.state_dict()
    return {name: torch.equal(value, others[name]) for name, value in one.state_dict().items()}


def test_all_but_the_upsampler_is_copied_to_another_scale():
    source, target = Toy(2), Toy(3)
    fresh = target.upsample.weight.detach().clone()
    assert transfer_weights(source, target) == ("upsample.weight", "upsample.bias")
    assert torch.equal(target.body.weight, source.body.weight)
    assert torch.equal(target.upsample.weight, fresh)


def test_everything_is_copied_to_the_same_scale():
    source, target = Toy(2), Toy(2)
    assert transfer_weights(source, target) == ()
    assert all(_same(source, target).values())


def test_another_network_is_refused_and_nothing_copied():
    source, target = Toy(2), Toy(3, width=5)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    with pytest.raises(WeightsError, match=r"body\.weight, body\.bias"):
        transfer_weights(source, target)
    assert all(torch.equal(value, before[name]) for name, value in target.state_dict().items())

    target.extra = nn.Linear(1, 1)
    with pytest.raises(WeightsError, match=r"extra\.weight"):
        transfer_weights(source, target)
