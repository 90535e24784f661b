import torch
from torch import Tensor

from hitsr.models.fused.cuda import by_size


def test_what_a_size_determines_is_made_once_and_forgotten_at_last():
    calls = []

    def make(size: int) -> Tensor:
        calls.append(size)
        return torch.zeros(size)

    with torch.inference_mode():
        first = by_size.kept(make, 1)
        assert by_size.kept(make, 1) is first
    assert not first.is_inference()  # a later forward may want gradients through it
    for size in range(2, 2 + by_size._MOST_KEPT):
        by_size.kept(make, size)
    assert len(by_size._kept) == by_size._MOST_KEPT
    by_size.kept(make, 1)
    assert calls.count(1) == 2
