"""Every choice that an ablation patches, as a whole network."""

from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import hitsr
from hitsr.measure.complexity import count
from hitsr.models.backbone import SuperResolver
from hitsr.specs.network import Formulation, NetworkSpec, kernel_of

# Two blocks, one of them shifted where anything is, in windows below and above their base.
SMALL: dict[str, Any] = {"depths": [2], "windows.base": 4, "windows.ratios": [1, 2]}
HIERARCHICAL: list[dict[str, Any]] = [
    {"mixer.branches": ["spatial"]},
    {"mixer.branches": ["channel"]},
    {"mixer.features": "linear"},
    {"mixer.features": "conv"},
    {"mixer.softmax": True},
    {"mixer.softmax": True, "mixer.branches": ["spatial"]},
    {"mixer.position": "table"},
    {"mixer.position": "none"},
    {"mixer.heads": 2},
    {"mixer.heads": 3},
    {"mixer.heads": 10},
    {"windows.shift": True},
    {"norm": "before"},
    {"ffn.kind": "conv"},
    {"width": 48},
    {"upsampler": "two_stage"},
    {"mixer": {"kind": "window_attention"}},
    {"mixer": {"kind": "window_attention", "position": "none"}, "windows.shift": True},
    {"mixer": {"kind": "permuted_attention"}, "windows.shift": True},
    {"mixer": {"kind": "transposed_attention"}},
    {"mixer": {"kind": "transposed_attention", "heads": 10}, "windows.shift": True},
]
NETWORKS: list[NetworkSpec] = [
    *(
        hitsr.NETWORKS[name].patch({**SMALL, **changes})
        for name in ("hit_sir", "hit_sng")
        for changes in HIERARCHICAL
    ),
    *(
        hitsr.NETWORKS[name].patch({"depths": [2], "windows.ratios": [1, 1], **changes})
        for name, changes in [
            ("swinir_light", {"norm": "after"}),
            ("swinir_light", {"windows.shift": False}),
            ("swinir_light", {"mixer.position": "none"}),
            ("swinir_light", {"mixer": {"kind": "correlation"}}),
            ("swinir_ng", {"mixer": {"kind": "transposed_attention"}}),
            ("srformer_light", {"context": {"grams": 2}, "windows.base": 8}),
            ("srformer_light", {"mixer.position": "none", "windows.base": 8}),
        ]
    ),
]


def _title(network: NetworkSpec) -> str:
    return f"{network.name}-{network.hash[:4]}-{network.mixer.kind}"


def _pair(network: NetworkSpec, way: Formulation) -> tuple[SuperResolver, SuperResolver]:
    """The network in the paper formulation and in another, with equal weights."""
    torch.manual_seed(0)
    paper, other = (hitsr.create(network, 2, formulation=each) for each in ("paper", way))
    with torch.no_grad():
        for parameter in paper.parameters():
            parameter += 0.05 * torch.randn_like(parameter)  # no bias or norm at its neutral start
    other.load_state_dict(paper.state_dict())
    return paper.eval(), other.eval()


def _picture(height: int, width: int) -> Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(height))


def test_no_two_variants_are_one():
    assert len({network.hash for network in NETWORKS}) == len(NETWORKS)


@pytest.mark.parametrize("way", ["released", "fused"])
@pytest.mark.parametrize("network", NETWORKS, ids=_title)
def test_formulations_agree_at_any_size(network: NetworkSpec, way: Formulation):
    paper, other = _pair(network, way)
    with torch.inference_mode():
        for height, width in [(1, 1), (1, 7), (5, 3), (9, 20)]:
            sr = other(_picture(height, width))
            assert sr.shape == (2, 3, 2 * height, 2 * width)
            assert (paper(_picture(height, width)) - sr).abs().max() < 1e-5


@pytest.mark.parametrize("way", ["released", "fused"])
@pytest.mark.parametrize("network", NETWORKS, ids=_title)
def test_gradients_agree_and_reach_every_parameter(network: NetworkSpec, way: Formulation):
    paper, other = _pair(network, way)
    for model in (paper, other):
        model(_picture(9, 8)).square().mean().backward()
    for (name, a), b in zip(paper.named_parameters(), other.parameters(), strict=True):
        assert (b.grad != 0).any(), name
        assert (a.grad - b.grad).abs().max() < 1e-4 * max(1, a.grad.abs().max()), name


@pytest.mark.parametrize("way", ["released", "paper"])
@pytest.mark.parametrize("network", NETWORKS, ids=_title)
def test_the_counters_agree(network: NetworkSpec, way: Formulation):
    model = hitsr.create(network, 2, formulation=way)
    with torch.device("meta"):
        shapes = hitsr.create(network, 2, formulation=way)
    assert count(shapes, (9, 8), "torch").flops == count(model, (9, 8), "fvcore").flops


class Attended(TorchDispatchMode):
    """Whether torch's attention kernel ran."""

    ran = False

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        self.ran |= "scaled_dot_product" in str(operator)
        return operator(*args, **(kwargs or {}))


@pytest.mark.parametrize("network", NETWORKS, ids=_title)
def test_the_kernel_that_runs_is_the_one_that_is_named(network: NetworkSpec):
    for formulation in get_args(Formulation):
        model = hitsr.create(network, 2, formulation=formulation).eval()
        with torch.inference_mode(), Attended() as watched:
            model(_picture(4, 4))
        named = kernel_of(network, formulation, in_tiles=True)
        assert watched.ran == ("scaled_dot_product_attention" in named)
