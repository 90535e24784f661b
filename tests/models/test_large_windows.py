import pytest
import torch
from torch import Tensor

import hitsr
from hitsr.measure.complexity import count
from hitsr.models.attention import Attention
from hitsr.models.large_windows import bias_of_rows
from hitsr.models.position import table_bias


@pytest.mark.parametrize(("side", "fold"), [(1, 1), (4, 1), (5, 1), (4, 2), (12, 2)])
def test_rows_of_a_bias_are_rows_of_the_whole(side: int, fold: int):
    table = torch.randn((2 * (side // fold) - 1) ** 2, 3, dtype=torch.float64)
    whole = table_bias(table, side, fold)
    assert torch.equal(bias_of_rows(table, side, fold, range(side)), whole)
    for top in range(0, side, fold):
        rows = bias_of_rows(table, side, fold, range(top, top + fold))
        assert torch.equal(rows, whole[:, top * side : (top + fold) * side])


@pytest.mark.parametrize("shift", [False, True])
def test_a_64_pixel_window_needs_a_fraction_of_its_bias(shift: bool):
    """Its bias has 6 x 4096 x 4096 entries, 403 MB; what the network holds peaks at far less."""
    mixer = {"kind": "window_attention", "heads": 6}
    changes = {"depths": [2], "windows.ratios": [8, 8], "mixer": mixer}
    if shift:
        changes["windows.shift"] = True
    network = hitsr.NETWORKS["hit_sir"].patch(changes)
    peak = count(hitsr.create(network, 2), (64, 64)).peak_activation_bytes
    assert peak is not None
    assert peak < 100e6


def test_training_keeps_no_scores():
    """One window of 32 pixels has 6 x 1024 x 1024 of them."""
    mixer = Attention(12, 6, 32, 16, 1, None, "fused")
    saved: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        saved.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        mixer(torch.randn(1, 32, 32, 12)).sum().backward()
    assert sum(saved) < 1024 * 1024
