import copy
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import hitsr
from hitsr.measure.complexity import Method, count, input_size_for

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "complexity.json").read_text())
COUNTERS: tuple[Method, ...] = ("torch", "fvcore")


class Small(nn.Module):
    """One of everything that the networks multiply by."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 5, padding=2, groups=8)
        self.norm = nn.LayerNorm(8)
        self.plain_norm = nn.LayerNorm(8, elementwise_affine=False)
        self.linear = nn.Linear(8, 24)
        self.shared = self.linear
        self.last = nn.Conv2d(8, 12, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.depthwise(self.first(F.pad(x, (0, 1, 0, 1), mode="reflect"))))
        tokens = self.plain_norm(self.norm(x.flatten(2).transpose(1, 2)))
        q, k, v = self.shared(tokens).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        mixed = (q @ k.transpose(-2, -1)).softmax(-1) @ v
        x = mixed.transpose(1, 2).flatten(2).transpose(1, 2).unflatten(2, x.shape[-2:])
        return F.pixel_shuffle(self.last(x), 2)


class Calls(nn.Module):
    """A model that is one function of the picture."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@pytest.mark.parametrize("counter", COUNTERS)
def test_counts_as_by_hand(counter: Method):
    pixels = 10 * 8  # 9x7, padded by one
    macs = pixels * (3 * 8 * 9 + 8 * 25 + 8 * 24 + 8 * 12) + 2 * 2 * pixels * pixels * 4
    norms = pixels * 8 * (5 + 4)
    found = count(Small(), (9, 7), counter)
    assert found.flops == macs + norms == sum(found.flops_by_operator.values())
    weights = (3 * 9 + 1) * 8 + (25 + 1) * 8 + 2 * 8 + (8 + 1) * 24 + (8 + 1) * 12
    assert found.params == weights
    assert found.counter == counter


def test_names_what_adds_nothing_and_leaves_layout_out():
    assert count(Small(), (9, 7)).uncounted == {
        "_softmax": 1, "gelu": 1, "pixel_shuffle": 1, "reflection_pad2d": 1,
    }  # fmt: skip
    assert "softmax" in count(Small(), (9, 7), "fvcore").uncounted


@pytest.mark.parametrize("counter", COUNTERS)
def test_leaves_the_model_as_it_was(counter: Method):
    model = Small().train()
    before = copy.deepcopy(model.state_dict())
    count(model, (9, 7), counter)
    assert model.training
    assert all(p.device.type == "cpu" and p.grad is None for p in model.parameters())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("counter", COUNTERS)
def test_attention_that_counters_miss_is_refused(counter: Method):
    model = Calls(lambda x: F.scaled_dot_product_attention(x, x, x))
    with pytest.raises(ValueError, match=r"scaled_dot_product_attention.*paper formulation"):
        count(model, (8, 8), counter)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.einsum("bchw,bdhw->bcd", x, x),
        lambda x: F.adaptive_avg_pool2d(x, 1),
        lambda x: F.interpolate(x, scale_factor=2),
        lambda x: F.instance_norm(x),
        lambda x: torch.baddbmm(x[0], x[0], x[0]),
        lambda x: x[0, 0] @ x[0, 0, 0],
    ],
)
def test_operators_that_the_counters_see_differently_are_refused(function):
    with pytest.raises(ValueError, match="cannot count"):
        count(Calls(function), (8, 8))


def test_fvcore_needs_real_weights():
    with torch.device("meta"):
        model = Small()
    assert count(model, (9, 7)).flops
    with pytest.raises(ValueError, match="meta device"):
        count(model, (9, 7), "fvcore")


@pytest.mark.parametrize(("scale", "expected"), [(2, (640, 360)), (3, (427, 240)), (4, (320, 180))])
def test_input_sizes_of_the_published_tables(scale: int, expected: tuple[int, int]):
    assert input_size_for((1280, 720), scale) == expected


@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_torch_and_fvcore_give_the_same_integer(name: str):
    # One of the four equal groups: the paper's position index costs fvcore seconds in each.
    network = hitsr.NETWORKS[name].patch({"depths": [6]})
    model = hitsr.create(network, scale=2, formulation="paper")
    assert count(model, (20, 17), "torch").flops == count(model, (20, 17), "fvcore").flops


@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_published_complexity_at_all_scales(name: str):
    golden = GOLDEN["networks"][name]
    for scale, params, gflops in zip((2, 3, 4), golden["params"], golden["gflops"], strict=True):
        with torch.device("meta"):
            paper = hitsr.create(name, scale=scale, formulation="paper")
            fused = hitsr.create(name, scale=scale, formulation="fused")
        found = count(paper, input_size_for((1280, 720), scale))
        assert found.params == params
        assert found.flops / 1e9 == pytest.approx(gflops, abs=0.05)
        assert sum(p.numel() for p in fused.parameters()) == params
