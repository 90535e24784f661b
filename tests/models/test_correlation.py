from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hitsr.models.correlation import Correlation, DualFeatures
from hitsr.models.ngram import NgramContext
from hitsr.specs import network as spec

WIDTH, HEADS = 12, 2


def _pair(
    window: int,
    base: int,
    changes: dict[str, Any] | None = None,
    *,
    shift: int = 0,
    context: bool = False,
    dtype=torch.float64,
) -> tuple[Correlation, Correlation]:
    """The paper and the fused formulation, with the same weights, none of them near zero."""
    torch.manual_seed(0)
    made: list[Correlation] = []
    mixer = spec.Correlation.parse({"heads": HEADS, **(changes or {})}, "test")
    for formulation in get_args(spec.Formulation):
        around = NgramContext(WIDTH, HEADS, window, 2, shared=True) if context else None
        made.append(Correlation(WIDTH, mixer, window, base, shift, around, formulation))
    paper, fused = made
    for parameter in paper.parameters():
        nn.init.normal_(parameter, std=0.3)
    fused.load_state_dict(paper.state_dict())
    return paper.to(dtype), fused.to(dtype)


CASES = [(2, 4), (4, 4), (4, 2), (6, 2), (8, 2), (8, 1)]
SPATIAL, CHANNEL = {"branches": ["spatial"]}, {"branches": ["channel"]}
VARIANTS: list[dict[str, Any]] = [
    SPATIAL,
    CHANNEL,
    {"softmax": True},
    {"softmax": True, "position": "none"},
    {**SPATIAL, "softmax": True},
    {"position": "table"},
    {"position": "none"},
    {**SPATIAL, "position": "none"},
    {"features": "linear"},
    {"features": "conv"},
    {"heads": 3},
]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize(("window", "base"), CASES)
def test_fused_is_the_paper(window, base, dtype, within, training: bool):
    paper, fused = _pair(window, base, dtype=dtype)
    paper.train(training)
    fused.train(training)
    for rows, columns in [(1, 1), (1, 3), (3, 2)]:
        x = torch.randn(2, rows * window, columns * window, WIDTH, dtype=dtype)
        assert (paper(x) - fused(x)).abs().max() < within
        with torch.inference_mode():
            for _ in range(2):  # the second time from the cache
                assert (paper(x) - fused(x)).abs().max() < within


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize(("window", "base"), [(2, 4), (8, 2)])
@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_fused_is_the_paper_in_every_variant(changes, window, base, dtype, within, training: bool):
    paper, fused = _pair(window, base, changes, shift=window // 2, context=True, dtype=dtype)
    paper.train(training)
    fused.train(training)
    x = torch.randn(2, 2 * window, 4 * window, WIDTH, dtype=dtype)
    assert (paper(x) - fused(x)).abs().max() < within
    with torch.inference_mode():
        for _ in range(2):  # the second time from the cache
            assert (paper(x) - fused(x)).abs().max() < within


def test_context_is_added_to_queries_and_values():
    paper, fused = _pair(4, 2, context=True)
    x = torch.randn(2, 8, 12, WIDTH, dtype=torch.float64)
    assert (paper(x) - fused(x)).abs().max() < 1e-10
    qv = paper.context(paper.features(x))
    paper.context, paper.features = None, nn.Identity()
    torch.testing.assert_close(fused(x), paper(qv))


@pytest.mark.parametrize(("window", "base"), CASES)
def test_gradients_are_the_papers(window, base):
    paper, fused = _pair(window, base)
    x = torch.randn(1, 2 * window, 2 * window, WIDTH, dtype=torch.float64, requires_grad=True)
    weight = torch.randn_like(x)
    found = []
    for mixer in (paper, fused):
        found.append(torch.autograd.grad((mixer(x) * weight).sum(), [x, *mixer.parameters()]))
    for by_paper, by_fused in zip(*found, strict=True):
        torch.testing.assert_close(by_fused, by_paper, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_gradients_are_the_papers_in_every_variant(changes):
    paper, fused = _pair(4, 2, changes, shift=2)
    x = torch.randn(1, 8, 8, WIDTH, dtype=torch.float64, requires_grad=True)
    weight = torch.randn_like(x)
    found = []
    for mixer in (paper, fused):
        found.append(torch.autograd.grad((mixer(x) * weight).sum(), [x, *mixer.parameters()]))
    for by_paper, by_fused in zip(*found, strict=True):
        torch.testing.assert_close(by_fused, by_paper, rtol=1e-9, atol=1e-9)


def test_fused_gradients_are_those_of_finite_differences():
    _, fused = _pair(2, 1)
    x = torch.randn(1, 2, 2, WIDTH, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(fused, (x,))


@pytest.mark.parametrize("formulation", [0, 1])
@pytest.mark.parametrize(("window", "base"), [(4, 2), (2, 4), (2, 1)])
def test_one_window_by_the_papers_definition(window, base, formulation: int):
    """Token by token, cell by cell, channel by channel (equations 3 to 6)."""
    mixer = _pair(window, base)[formulation]
    mixer.features = nn.Identity()
    half, width = WIDTH // 2, WIDTH // 2 // HEADS
    x = torch.randn(window, window, WIDTH, dtype=torch.float64)
    q, v = x[..., :half], x[..., half:]
    cells = min(window, base)
    ratio = window // cells
    inside = [(a, b) for a in range(ratio) for b in range(ratio)]

    base_v = torch.zeros(cells, cells, half, dtype=torch.float64)
    for row in range(cells):
        for column in range(cells):
            for weight, (a, b) in zip(mixer.to_base.weight[0], inside, strict=True):
                base_v[row, column] += weight * v[row * ratio + a, column * ratio + b]
            base_v[row, column] += mixer.to_base.bias

    def bias(y: int, z: int, row: int, column: int) -> Tensor:
        """Of a token towards a cell: the mean over the cell's tokens, one per head."""
        offsets = [(y - row * ratio - a, z - column * ratio - b) for a, b in inside]
        table = mixer.position
        return table.layers(table.embed(torch.tensor(offsets, dtype=torch.float64))).mean(0)

    mixed = torch.zeros(window, window, WIDTH, dtype=torch.float64)
    channels = torch.zeros(half, half, dtype=torch.float64)
    for y in range(window):
        for z in range(window):
            channels += torch.outer(q[y, z], v[y, z]) / window**2
            for head in range(HEADS):
                own = slice(head * width, (head + 1) * width)
                for row in range(cells):
                    for column in range(cells):
                        value = base_v[row, column, own]
                        score = q[y, z, own] @ value / width + bias(y, z, row, column)[head]
                        mixed[y, z, own] += score * value
    mixed[..., half:] = torch.einsum("yzd,cd->yzc", v, channels)
    expected = mixed @ mixer.proj.weight.t() + mixer.proj.bias
    torch.testing.assert_close(mixer(x[None])[0], expected)


def test_dual_features_gate_a_neighbourhood_by_its_middle():
    features = DualFeatures(WIDTH)
    shapes = {name: tuple(parameter.shape) for name, parameter in features.named_parameters()}
    assert {shape for name, shape in shapes.items() if name.endswith("weight")} == {
        (2, 12, 1, 1),
        (2, 2, 3, 3),
        (12, 2, 1, 1),
        (12, 12, 1, 1),
    }
    x = torch.randn(1, 7, 7, WIDTH)
    changed = x.clone()
    changed[0, 3, 3] += 1
    moved = (features(x) - features(changed))[0].abs().amax(-1) > 0
    assert moved[2:5, 2:5].all()
    assert moved.sum() == 9
    nn.init.zeros_(features.gate.weight)
    nn.init.zeros_(features.gate.bias)
    assert (features(x) == 0).all()


@pytest.mark.parametrize("formulation", [0, 1])
def test_a_token_reaches_its_own_window_alone(formulation: int):
    window = 4
    mixer = _pair(window, 2)[formulation]
    x = torch.randn(1, 8, 12, WIDTH, dtype=torch.float64)
    changed = x.clone()
    changed[0, 5, 6] += 1  # inside, where the features' 3x3 convolution stays inside too
    moved = (mixer(x) - mixer(changed))[0].abs().amax(-1)
    reached = torch.zeros(8, 12, dtype=torch.bool)
    reached[4:8, 4:8] = True
    assert (moved[reached] > 1e-6).all()
    assert (moved[~reached] == 0).all()


def test_a_window_below_the_base_is_its_own_base():
    assert _pair(2, 4)[1].to_base.weight.shape == (1, 1)
    assert _pair(8, 4)[1].to_base.weight.shape == (1, 4)


def test_a_batch_is_its_pictures_one_by_one():
    _, fused = _pair(4, 2)
    x = torch.randn(3, 8, 4, WIDTH, dtype=torch.float64)
    torch.testing.assert_close(fused(x), torch.cat([fused(picture[None]) for picture in x]))


@pytest.mark.parametrize("formulation", [0, 1])
def test_branches_alone_add_up_to_both(formulation: int):
    """With the columns of their half of the projection, they leave each other's half out."""
    both, spatial, channel = (
        _pair(4, 2, changes)[formulation] for changes in ({}, SPATIAL, CHANNEL)
    )
    state = both.state_dict()
    columns = state["proj.weight"].split(WIDTH // 2, 1)
    bias = {"proj.bias": torch.zeros(WIDTH, dtype=torch.float64)}
    spatial.load_state_dict({**state, "proj.weight": columns[0]})
    own = {key: state[key] for key in channel.state_dict()}
    channel.load_state_dict({**own, **bias, "proj.weight": columns[1]})
    x = torch.randn(2, 8, 4, WIDTH, dtype=torch.float64)
    torch.testing.assert_close(spatial(x) + channel(x), both(x))
    gone = set(state) - set(own)
    assert {key.split(".")[0] for key in gone} == {"position", "to_base"}


@pytest.mark.parametrize("formulation", [0, 1])
def test_a_softmax_makes_averages_of_base_cells(formulation: int):
    """By the definition of attention: each token's weights over the cells sum to one."""
    mixer = _pair(4, 2, {**SPATIAL, "softmax": True})[formulation]
    mixer.features = nn.Identity()
    x = torch.randn(1, 4, 4, WIDTH, dtype=torch.float64)
    q, v = x.flatten(1, 2).chunk(2, -1)
    cells = mixer._base_cells(v)[0].unflatten(-1, (HEADS, -1))
    queries, width = q[0].unflatten(-1, (HEADS, -1)), WIDTH // 2 // HEADS
    table = mixer.position(4)
    expected = torch.empty(16, HEADS, width, dtype=torch.float64)
    for token in range(16):
        for head in range(HEADS):
            weights = torch.empty(4, dtype=torch.float64)
            for cell in range(4):
                down, right = token // 4 - 2 * (cell // 2), token % 4 - 2 * (cell % 2)
                near = table[head, down + 2 : down + 4, right + 2 : right + 4]
                score = queries[token, head] @ cells[cell, head] / width
                weights[cell] = (score + near.mean()).exp()
            expected[token, head] = (weights / weights.sum()) @ cells[:, head]
    found = mixer(x)[0].flatten(0, 1)
    torch.testing.assert_close(found, mixer.proj(expected.flatten(1)))


@pytest.mark.parametrize("formulation", [0, 1])
def test_a_shift_moves_the_windows_around_the_edges(formulation: int):
    shifted = _pair(4, 2, shift=2)[formulation]
    still = _pair(4, 2)[formulation]
    for mixer in (still, shifted):
        mixer.features = nn.Identity()  # which see the picture as it is
    x = torch.randn(2, 8, 12, WIDTH, dtype=torch.float64)
    moved = torch.cat([torch.cat([x, x], 1), torch.cat([x, x], 1)], 2)[:, 2:10, 2:14]
    found = torch.cat([shifted(x)] * 2, 1)
    found = torch.cat([found] * 2, 2)[:, 2:10, 2:14]
    torch.testing.assert_close(found, still(moved))


def test_features_of_one_kind_are_a_branch_of_the_dual_ones():
    dual, linear, conv = (DualFeatures(WIDTH, kind) for kind in get_args(spec.Features))
    state = dual.state_dict()
    assert set(conv.state_dict()) | set(linear.state_dict()) == set(state)
    assert not set(conv.state_dict()) & set(linear.state_dict())
    for branch in (conv, linear):
        branch.load_state_dict({key: state[key] for key in branch.state_dict()})
    x = torch.randn(2, 5, 7, WIDTH)
    torch.testing.assert_close(conv(x) * linear(x), dual(x))
    gate = F.conv2d(x.permute(0, 3, 1, 2), state["gate.weight"], state["gate.bias"])
    torch.testing.assert_close(linear(x), gate.permute(0, 2, 3, 1))


def test_a_table_has_an_entry_for_every_offset():
    mixer = _pair(8, 2, {"position": "table"})[1]
    assert mixer.position.bias_table.shape == (15**2, HEADS)
