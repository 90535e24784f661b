"""What would break the capture of a CUDA graph, looked for on CUDA tensors without data.

No GPU is needed: torch's fake tensors have a device, shapes and types alone.
"""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import hitsr
from hitsr.models.backbone import SuperResolver
from hitsr.runtime.capture_rules import CaptureError, CaptureRules
from hitsr.specs.network import Formulation

SIZES = [(5, 3), (65, 130)]


@pytest.fixture
def on_cuda(monkeypatch: pytest.MonkeyPatch) -> Callable[..., SuperResolver]:
    """Makes networks on CUDA, to be called in a mode of fake tensors."""
    # It redraws until all values are within bounds; fake tensors have none.
    monkeypatch.setattr(nn.init, "trunc_normal_", lambda tensor, **_: tensor)

    def make(name: str, formulation: Formulation) -> SuperResolver:
        network = hitsr.NETWORKS[name].patch({"depths": [6], "stochastic_depth": 0.1})
        with torch.device("cuda"):
            return hitsr.create(network, 2, formulation=formulation)

    return make


@pytest.mark.parametrize("formulation", ["paper", "fused"])
@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_a_forward_on_cuda_neither_waits_nor_copies(on_cuda, name: str, formulation):
    with FakeTensorMode(), torch.no_grad():
        model = on_cuda(name, formulation).eval()
        model(torch.empty(1, 3, 8, 8, device="cuda"))  # caches biases
        for size in SIZES:
            lr = torch.empty(2, 3, *size, device="cuda")
            with CaptureRules():
                assert model(lr).shape == (2, 3, 2 * size[0], 2 * size[1])


@pytest.mark.parametrize("formulation", ["paper", "fused"])
@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_a_forward_of_training_on_cuda_neither_waits_nor_copies(on_cuda, name: str, formulation):
    with FakeTensorMode():
        model, lr = on_cuda(name, formulation), torch.empty(2, 3, 64, 64, device="cuda")
        with CaptureRules():
            assert model(lr).requires_grad


def test_the_released_formulation_copies_masks_in_each_forward(on_cuda):
    with FakeTensorMode(), torch.no_grad():
        model, lr = on_cuda("swinir_light", "released").eval(), torch.empty(1, 3, 9, 9).to("cuda")
        model(lr)
        with CaptureRules(), pytest.raises(CaptureError, match=r"_to_copy.* between host and"):
            model(lr)


@pytest.mark.parametrize("formulation", ["paper", "fused"])
@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_no_gradient_waits_for_a_value(name: str, formulation):
    """On the CPU, as gradients need a device; autocast computes there as other devices do."""
    changes = {"depths": [2], "windows.base": 4, "windows.ratios": [1, 2], "stochastic_depth": 0.1}
    network = hitsr.NETWORKS[name].patch(changes)
    model = hitsr.create(network, 2, formulation=formulation, autocast=True)
    with CaptureRules("cpu"):
        model(torch.rand(2, 3, 9, 7)).mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("words", "function"),
    [
        ("_to_copy.* between host and device", lambda _: torch.ones(2).to("cuda")),
        ("copy_.* between host and device", lambda x: x.copy_(torch.ones(2))),
        ("copy_.* between host and device", lambda x: torch.ones(2).copy_(x)),
        ("copy_.* between host and device", lambda x: x.copy_(torch.tensor(1.0))),
        ("_to_copy.* between host and device", lambda x: x.cpu()),
        ("_to_copy.* between host and device", lambda x: x[[0, 1]]),
        ("index.* between host and device", lambda x: x[torch.tensor([0, 1])]),
        ("between host and device|values", lambda _: torch.tensor([1.0], device="cuda")),
        ("must wait for", lambda x: x.sum().item()),
        ("must wait for", lambda x: x.nonzero()),
        ("must wait for", lambda x: x[x > 0]),
        ("must wait for", lambda x: bool((x > 0).all())),
    ],
)
def test_what_a_graph_cannot_hold_is_found(words: str, function):
    with FakeTensorMode():
        x = torch.empty(2, device="cuda")
        with CaptureRules(), pytest.raises(CaptureError, match=words):
            function(x)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * 2 + torch.tensor(1.0),
        lambda x: x.index_fill(0, torch.arange(1, device="cuda"), 3.0),
        lambda x: torch.scalar_tensor(2, device="cuda") * x,
        lambda x: x[torch.arange(1, device="cuda")],
        lambda x: x.masked_fill(x > 0, 1.0),
        lambda _: torch.ones(2) + 1,
    ],
)
def test_what_a_graph_can_hold_is_left_alone(function):
    with FakeTensorMode():
        x = torch.empty(2, device="cuda")
        with CaptureRules():
            function(x)
