import pytest
import torch
from torch import Tensor, nn

import hitsr
from hitsr.models.block import Block
from hitsr.models.fused.backend import Backend, forced
from hitsr.models.windows import extend
from hitsr.specs.network import NetworkSpec

BEFORE = hitsr.NETWORKS["swinir_light"].patch(
    {"width": 12, "mixer.heads": 2, "depths": [2], "windows": {"base": 4, "ratios": [1, 1]}}
)
AFTER = hitsr.to_hierarchical(BEFORE, base=4, ratios=(1, 2))


def _block(network: NetworkSpec, index: int = 0, rate: float = 0.0) -> Block:
    torch.manual_seed(0)
    block = Block(network, index, rate, "fused")
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.3)
    return block


def test_norm_before_acts_on_what_a_branch_gets():
    block = _block(BEFORE)
    x = torch.randn(2, 8, 4, 12)
    y = x + block.mixer(block.norm1(x))
    torch.testing.assert_close(block(x), y + block.ffn(block.norm2(y)))


def test_norm_after_acts_on_what_a_branch_gives():
    block = _block(AFTER)
    x = torch.randn(2, 8, 4, 12)
    y = x + block.norm1(block.mixer(x))
    torch.testing.assert_close(block(x), y + block.norm2(block.ffn(y)))


def _given_to_mixer(block: Block, x: Tensor) -> Tensor:
    given: list[Tensor] = []
    with block.mixer.register_forward_pre_hook(lambda _, args: given.append(args[0])):
        block(x)
    assert len(given) == 1
    return given[0]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("index", [0, 1])
def test_only_the_mixer_sees_the_extension(index: int, training: bool):
    block = _block(AFTER, index).train(training)
    x, side = torch.randn(1, 5, 9, 12), AFTER.windows.sizes[index]
    assert torch.equal(_given_to_mixer(block, x), extend(x, side))
    y = x + block.norm1(block.mixer(extend(x, side))[:, :5, :9])
    torch.testing.assert_close(block(x), y + block.norm2(block.ffn(y)))


def test_context_needs_pairs_of_windows():
    block = _block(AFTER.patch({"context": {"grams": 2}}), 1)
    x = torch.randn(1, 5, 9, 12)
    assert block(x).shape == x.shape
    assert _given_to_mixer(block, x).shape == (1, 16, 16, 12)


def test_every_second_block_is_shifted_by_half_a_window():
    network = BEFORE.patch({"depths": [4], "windows.ratios": [1, 1, 1, 1]})
    assert [_block(network, index).mixer.shift for index in range(4)] == [0, 2, 0, 2]
    still = network.patch({"windows.shift": False})
    assert [_block(still, index).mixer.shift for index in range(4)] == [0, 0, 0, 0]


@pytest.mark.parametrize("network", [BEFORE, AFTER])
def test_stochastic_depth_is_off_in_eval_mode_and_at_rate_zero(network: NetworkSpec):
    x = torch.randn(4, 8, 8, 12)
    expected = _block(network).eval()(x)
    torch.testing.assert_close(_block(network, rate=0.9).eval()(x), expected)
    torch.testing.assert_close(_block(network, rate=0.0).train()(x), expected)
    assert (_block(network, rate=0.9).train()(x) - expected).abs().max() > 0.1


def test_a_dropped_branch_is_dropped_for_a_whole_picture_and_kept_on_average():
    torch.manual_seed(0)
    block = _block(BEFORE, rate=0.25).train()
    factors = block.factors(torch.ones(20000, 2, 2, 1))
    assert factors is not None
    assert factors.shape == (2, 20000, 1, 1, 1)
    assert factors.unique().tolist() == pytest.approx([0, 4 / 3])
    for factor in factors:  # of each branch
        assert (factor > 0).float().mean() == pytest.approx(0.75, abs=0.01)
        assert factor.mean() == pytest.approx(1, abs=0.02)
    assert ((factors[0] > 0) == (factors[1] > 0)).float().mean() < 0.7  # 0.625 by chance


@pytest.mark.parametrize("backend", ["cpu", "cuda"])
@pytest.mark.parametrize("network", [BEFORE, AFTER])
def test_each_branch_is_multiplied_by_its_factor(
    network: NetworkSpec, backend: Backend, monkeypatch: pytest.MonkeyPatch
):
    block, x = _block(network, rate=0.5).train(), torch.randn(3, 8, 8, 12)
    first, second = torch.tensor([[0, 2, 0], [2, 0, 0]]).float().view(2, 3, 1, 1, 1)
    monkeypatch.setattr(block, "factors", lambda _: torch.stack([first, second]))
    y = x + first * block.normed(block.mix, block.norm1, x)
    expected = y + second * block.normed(block.ffn, block.norm2, y)
    with forced(backend):
        torch.testing.assert_close(block(x), expected)
