import pytest
import torch
from torch import Tensor, nn

from hitsr.models.ngram import NgramContext
from hitsr.models.transposed import TransposedAttention
from hitsr.specs.network import Formulation

WIDTH, HEADS = 12, 3


def _pair(
    window: int, shift: int = 0, *, context: bool = False, dtype=torch.float64
) -> tuple[TransposedAttention, TransposedAttention]:
    """The paper and the fused formulation, with the same weights, none of them near zero."""
    torch.manual_seed(0)
    formulations: tuple[Formulation, ...] = ("paper", "fused")
    made = []
    for formulation in formulations:
        around = NgramContext(WIDTH, HEADS, window, 2, shared=False) if context else None
        made.append(TransposedAttention(WIDTH, HEADS, window, shift, around, formulation))
    paper, fused = made
    for parameter in paper.parameters():
        nn.init.normal_(parameter, std=0.3)
    fused.load_state_dict(paper.state_dict())
    return paper.to(dtype), fused.to(dtype)


@pytest.mark.parametrize("context", [False, True])
@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize(("window", "shift"), [(1, 0), (2, 1), (4, 0), (8, 4)])
def test_fused_is_the_paper(window, shift, dtype, within, context: bool):
    paper, fused = _pair(window, shift, context=context, dtype=dtype)
    for rows, columns in [(1, 1), (1, 3), (3, 2)]:
        x = torch.randn(2, rows * window, columns * window, WIDTH, dtype=dtype)
        assert (paper(x) - fused(x)).abs().max() < within


@pytest.mark.parametrize(("window", "shift"), [(2, 1), (4, 0)])
def test_gradients_are_the_papers(window, shift):
    paper, fused = _pair(window, shift)
    shape = (1, 2 * window, 2 * window, WIDTH)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    weight = torch.randn_like(x)
    found = []
    for mixer in (paper, fused):
        found.append(torch.autograd.grad((mixer(x) * weight).sum(), [x, *mixer.parameters()]))
    for by_paper, by_fused in zip(*found, strict=True):
        torch.testing.assert_close(by_fused, by_paper, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("formulation", [0, 1])
def test_one_window_by_the_definition(formulation: int):
    """Channel by channel: the cosine of two channels over the tokens, as a weight of the second."""
    mixer = _pair(4)[formulation]
    x = torch.randn(4, 4, WIDTH, dtype=torch.float64)
    q, k, v = (x.flatten(0, 1) @ mixer.qkv.weight.t() + mixer.qkv.bias).chunk(3, -1)
    width = WIDTH // HEADS
    mixed = torch.empty(16, WIDTH, dtype=torch.float64)
    for head in range(HEADS):
        own = range(head * width, (head + 1) * width)
        for channel in own:
            weights: list[Tensor] = []
            for other in own:
                cosine = torch.cosine_similarity(q[:, channel], k[:, other], 0)
                weights.append((cosine * mixer.temperature[head]).exp())
            total = sum(weights)
            parts = (weight / total * v[:, other] for weight, other in zip(weights, own))
            mixed[:, channel] = sum(parts)
    expected = mixed @ mixer.proj.weight.t() + mixer.proj.bias
    torch.testing.assert_close(mixer(x[None])[0].flatten(0, 1), expected)


@pytest.mark.parametrize("formulation", [0, 1])
def test_channels_that_say_nothing_do_no_harm(formulation: int):
    """A picture of one colour may have none: a norm of zero must not divide."""
    mixer = _pair(2)[formulation]
    nn.init.zeros_(mixer.qkv.bias)
    x = torch.zeros(1, 2, 2, WIDTH, dtype=torch.float64, requires_grad=True)
    mixed = mixer(x)
    torch.testing.assert_close(mixed, mixer.proj.bias.expand(1, 2, 2, WIDTH))
    mixed.sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("formulation", [0, 1])
def test_a_token_reaches_its_own_window_alone(formulation: int):
    mixer = _pair(4)[formulation]
    x = torch.randn(1, 8, 12, WIDTH, dtype=torch.float64)
    changed = x.clone()
    changed[0, 5, 6] += torch.randn(WIDTH, dtype=torch.float64)
    moved = (mixer(x) - mixer(changed))[0].abs().amax(-1)
    assert (moved[4:8, 4:8] > 1e-9).all()
    moved[4:8, 4:8] = 0
    assert (moved == 0).all()
