import pytest
import torch
from torch import Tensor

import hitsr
from hitsr.measure.complexity import count
from hitsr.models.attention import Attention


@pytest.mark.parametrize("shift", [False, True])
def test_a_64_pixel_window_needs_a_fraction_of_its_bias(shift: bool):
    """Six heads have 6 x 4096 x 4096 biases, 403 MB; the peak of all activations is far below."""
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
