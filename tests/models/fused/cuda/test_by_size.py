import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from hitsr.models.fused.cuda import by_size

LIKE = torch.zeros(1)


def test_what_a_size_determines_is_made_once_and_forgotten_at_last():
    calls = []

    def make(size: int, device: torch.device) -> Tensor:
        calls.append(size)
        return torch.zeros(size, device=device)

    with torch.inference_mode():
        first = by_size.kept(make, LIKE, 1)
        assert by_size.kept(make, LIKE, 1) is first
    assert not first.is_inference()  # a later forward may want gradients through it
    for size in range(2, 2 + by_size._MOST_KEPT):
        by_size.kept(make, LIKE, size)
    assert len(by_size._kept) == by_size._MOST_KEPT
    by_size.kept(make, LIKE, 1)
    assert calls.count(1) == 2


def test_tensors_without_values_are_not_kept():
    """Another fake mode, or a real forward, could not use them."""
    with FakeTensorMode() as fake:
        like = fake.from_tensor(LIKE)
        first, second = (by_size.kept(_zeros, like, 3) for _ in range(2))
    assert first is not second
    assert type(by_size.kept(_zeros, LIKE, 3)) is Tensor


def _zeros(size: int, device: torch.device) -> Tensor:
    return torch.zeros(size, device=device)
