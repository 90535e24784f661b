import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hitsr.models.attention import Attention
from hitsr.models.ngram import NgramContext
from hitsr.specs.network import Formulation

WIDTH, HEADS = 16, 2


def _pair(
    window: int,
    shift: int,
    fold: int,
    *,
    context: bool = False,
    positions: bool = True,
    dtype=torch.float64,
) -> tuple[Attention, Attention]:
    """The paper and the fused formulation, with the same weights, none of them near zero."""
    torch.manual_seed(0)
    made: list[Attention] = []
    formulations: tuple[Formulation, ...] = ("paper", "fused")
    for formulation in formulations:
        around = NgramContext(WIDTH, HEADS, window, 2, shared=False) if context else None
        made.append(Attention(WIDTH, HEADS, window, shift, fold, around, formulation, positions))
    paper, fused = made
    for parameter in paper.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    fused.load_state_dict(paper.state_dict())
    return paper.to(dtype), fused.to(dtype)


CASES = [(4, 0, 1), (4, 2, 1), (4, 0, 2), (4, 2, 2), (8, 4, 2), (3, 1, 1), (2, 1, 1)]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize(("window", "shift", "fold"), CASES)
def test_fused_is_the_paper(window, shift, fold, dtype, within, training: bool):
    paper, fused = _pair(window, shift, fold, dtype=dtype)
    paper.train(training)
    fused.train(training)
    for rows, columns in [(1, 1), (1, 3), (3, 2)]:
        x = torch.randn(2, rows * window, columns * window, WIDTH, dtype=dtype)
        assert (paper(x) - fused(x)).abs().max() < within
        with torch.inference_mode():
            for _ in range(2):  # the second time from the cache
                assert (paper(x) - fused(x)).abs().max() < within


@pytest.fixture(params=["laid out", "by rows"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small windows are attended to in both ways that large and small ones are."""
    if request.param == "by rows":
        monkeypatch.setattr("hitsr.specs.network.MOST_LAID_OUT", 0)
        monkeypatch.setattr("hitsr.models.large_windows._MOST_AT_ONCE", 2 * HEADS * 4**3)


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("positions", [False, True])
@pytest.mark.parametrize(("window", "shift", "fold"), CASES)
def test_fused_is_the_paper_in_either_way(window, shift, fold, positions: bool):
    paper, fused = _pair(window, shift, fold, positions=positions)
    for rows, columns in [(1, 1), (1, 3), (3, 2)]:
        shape = (2, rows * window, columns * window, WIDTH)
        x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
        weight = torch.randn_like(x)
        found = []
        for mixer in (paper, fused):
            mixed = mixer(x)
            inputs = [x, *mixer.parameters()]
            found.append([mixed, *torch.autograd.grad((mixed * weight).sum(), inputs)])
        for by_paper, by_fused in zip(*found, strict=True):
            torch.testing.assert_close(by_fused, by_paper, rtol=1e-9, atol=1e-9)


def test_without_positions_there_is_no_table():
    assert not any("table" in key for key in _pair(4, 0, 1, positions=False)[1].state_dict())


def test_fused_is_the_paper_with_context():
    paper, fused = _pair(4, 2, 1, context=True)
    x = torch.randn(2, 8, 12, WIDTH, dtype=torch.float64)
    assert (paper(x) - fused(x)).abs().max() < 1e-10
    around = paper.context(x)
    paper.context = None
    torch.testing.assert_close(fused(x), paper(around))


@pytest.mark.parametrize(("window", "shift", "fold"), CASES)
def test_gradients_are_the_papers(window, shift, fold):
    paper, fused = _pair(window, shift, fold)
    x = torch.randn(1, 2 * window, 2 * window, WIDTH, dtype=torch.float64, requires_grad=True)
    weight = torch.randn_like(x)
    found = []
    for mixer in (paper, fused):
        found.append(torch.autograd.grad((mixer(x) * weight).sum(), [x, *mixer.parameters()]))
    for by_paper, by_fused in zip(*found, strict=True):
        torch.testing.assert_close(by_fused, by_paper, rtol=1e-9, atol=1e-9)


def test_fused_gradients_are_those_of_finite_differences():
    _, fused = _pair(2, 1, 1)
    x = torch.randn(1, 4, 2, WIDTH, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(fused, (x,))


@pytest.mark.parametrize("formulation", [0, 1])
def test_one_window_is_torchs_multi_head_attention(formulation: int):
    window = 4
    mixer = _pair(window, 0, 1)[formulation]
    x = torch.randn(3, window, window, WIDTH, dtype=torch.float64)
    bias = torch.empty(HEADS, 16, 16, dtype=torch.float64)
    for query in range(16):
        for key in range(16):
            down, right = query // 4 - key // 4, query % 4 - key % 4
            bias[:, query, key] = mixer.bias_table[(down + 3) * 7 + right + 3].detach()
    tokens = x.flatten(1, 2).transpose(0, 1)  # (t, n, c)
    expected, _ = F.multi_head_attention_forward(
        *(tokens, tokens, tokens, WIDTH, HEADS, mixer.qkv.weight, mixer.qkv.bias),
        *(None, None, False, 0.0, mixer.proj.weight, mixer.proj.bias),
        attn_mask=bias.repeat(3, 1, 1),
        need_weights=False,
    )
    torch.testing.assert_close(mixer(x).flatten(1, 2).transpose(0, 1), expected)


@pytest.mark.parametrize("formulation", [0, 1])
def test_permuted_keys_are_two_by_two_tokens_in_channels(formulation: int):
    """Token by token from SRFormer's definition: a cell's four narrow keys are one wide key."""
    window, cells, width = 4, 2, WIDTH // HEADS
    mixer = _pair(window, 0, 2)[formulation]
    x = torch.randn(window, window, WIDTH, dtype=torch.float64)
    q, k, v = (x @ mixer.qkv.weight.t() + mixer.qkv.bias).split([16, 4, 4], -1)

    def folded(narrow: Tensor) -> Tensor:
        """(4, 4, 4) -> (2, 2, 16)"""
        rows = [narrow[dy::2, dx::2] for dy in (0, 1) for dx in (0, 1)]
        return torch.cat(rows, -1)

    keys, values = folded(k), folded(v)
    expected = torch.empty(window, window, WIDTH, dtype=torch.float64)
    for y in range(window):
        for z in range(window):
            for head in range(HEADS):
                own = slice(head * width, (head + 1) * width)
                scores = torch.empty(cells, cells, dtype=torch.float64)
                for row in range(cells):
                    for column in range(cells):
                        entry = (y // 2 - row + 1) * 3 + z // 2 - column + 1
                        scores[row, column] = (
                            q[y, z, own] @ keys[row, column, own] / width**0.5
                            + mixer.bias_table[entry, head]
                        )
                weights = scores.flatten().softmax(0).view(cells, cells, 1)
                expected[y, z, own] = (weights * values[..., own]).sum((0, 1))
    expected = expected @ mixer.proj.weight.t() + mixer.proj.bias
    torch.testing.assert_close(mixer(x[None])[0], expected)


def _bands(length: int, window: int, shift: int) -> Tensor:
    """Which run of pixels each pixel mixes with, along one side."""
    return (torch.arange(length) - shift).div(window, rounding_mode="floor")


@pytest.mark.parametrize("formulation", [0, 1])
@pytest.mark.parametrize(("window", "shift", "fold"), [(4, 0, 1), (4, 2, 1), (4, 2, 2), (8, 4, 2)])
def test_a_token_reaches_its_own_shifted_window_alone(window, shift, fold, formulation: int):
    """The picture's two ends, which a cyclic shift brings together, never see each other."""
    mixer = _pair(window, shift, fold)[formulation]
    height, width = 2 * window, 3 * window
    x = torch.randn(1, height, width, WIDTH, dtype=torch.float64)
    rows, columns = _bands(height, window, shift), _bands(width, window, shift)
    for y, z in [(0, 0), (height - 1, width - 1), (0, width - 1), (window, 1), (shift, shift)]:
        changed = x.clone()
        changed[0, y, z] += torch.randn(WIDTH, dtype=torch.float64)
        moved = (mixer(x) - mixer(changed))[0].abs().amax(-1)
        reached = (rows == rows[y])[:, None] & (columns == columns[z])
        assert (moved[reached] > 1e-6).all()
        assert (moved[~reached] == 0).all()


def test_a_batch_is_its_pictures_one_by_one():
    _, fused = _pair(4, 2, 1)
    x = torch.randn(3, 8, 4, WIDTH, dtype=torch.float64)
    torch.testing.assert_close(fused(x), torch.cat([fused(picture[None]) for picture in x]))


def test_masks_of_one_size_serve_no_other():
    paper, fused = _pair(4, 2, 1)
    fused.eval()
    with torch.no_grad():
        for rows, columns in [(2, 3), (3, 2), (2, 3), (1, 6)]:  # six windows each
            x = torch.randn(1, 4 * rows, 4 * columns, WIDTH, dtype=torch.float64)
            torch.testing.assert_close(fused(x), paper(x))


def test_pictures_of_many_sizes_leave_the_masks_of_one():
    _, fused = _pair(4, 2, 1)
    fused.eval()
    with torch.no_grad():
        for columns in range(1, 6):
            fused(torch.randn(1, 4, 4 * columns, WIDTH, dtype=torch.float64))
    kept = [value.numel() for _, value in fused._cache._kept.values()]
    alone = copy.deepcopy(fused)
    with torch.no_grad():
        alone(torch.randn(1, 4, 20, WIDTH, dtype=torch.float64))
    assert kept == [value.numel() for _, value in alone._cache._kept.values()]
