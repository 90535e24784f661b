import numpy as np
import pytest
import torch
from torch import nn

from hitsr.base.errors import WeightsError
from hitsr.runtime.tensors import evaluating, to_batch, to_picture


def test_to_picture_undoes_to_batch():
    picture = np.arange(768, dtype=np.uint16).reshape(16, 16, 3).astype(np.uint8)
    batch = to_batch(picture)
    assert (batch.min(), batch.max()) == (0, 1)
    assert np.array_equal(to_picture(batch), picture)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_becomes_three_equal_channels(dtype: type):
    batch = to_batch(np.array([[0, np.iinfo(dtype).max]], dtype))
    assert torch.equal(batch, torch.tensor([[0.0, 1.0]]).expand(1, 3, 1, 2))


def test_output_that_is_not_finite_raises():
    with pytest.raises(WeightsError, match="not finite"):
        to_picture(torch.full((1, 3, 2, 2), torch.nan))


def test_the_mode_of_a_model_is_restored():
    model = nn.Identity().train()
    with evaluating(model):
        assert not model.training
    assert model.training
