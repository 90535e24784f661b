from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hitsr.models.correlation import DualFeatures
from hitsr.specs import network as spec

WIDTH, HEADS = 12, 2  # of the fixture `correlation`
SPATIAL, CHANNEL = {"branches": ["spatial"]}, {"branches": ["channel"]}


@pytest.mark.parametrize("formulation", get_args(spec.Formulation))
def test_context_is_added_to_queries_and_values(
    formulation: spec.Formulation, correlation: Callable
):
    mixer = correlation(formulation, 4, 2, context=True)
    x = torch.randn(2, 8, 12, WIDTH, dtype=torch.float64)
    found, qv = mixer(x), mixer.context(mixer.features(x))
    mixer.context, mixer.features = None, nn.Identity()
    torch.testing.assert_close(found, mixer(qv))


@pytest.mark.parametrize("formulation", get_args(spec.Formulation))
@pytest.mark.parametrize(("window", "base"), [(4, 2), (2, 4), (2, 1)])
def test_one_window_by_the_papers_definition(
    window, base, formulation: spec.Formulation, correlation: Callable
):
    """Token by token, cell by cell, channel by channel (equations 3 to 6)."""
    mixer = correlation(formulation, window, base)
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
        """Bias of a token towards a cell: the mean over the cell's tokens, per head."""
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


@pytest.mark.parametrize("formulation", get_args(spec.Formulation))
def test_a_token_reaches_its_own_window_alone(formulation: spec.Formulation, correlation: Callable):
    window = 4
    mixer = correlation(formulation, window, 2)
    x = torch.randn(1, 8, 12, WIDTH, dtype=torch.float64)
    changed = x.clone()
    changed[0, 5, 6] += 1  # inside, where the features' 3x3 convolution stays inside too
    moved = (mixer(x) - mixer(changed))[0].abs().amax(-1)
    reached = torch.zeros(8, 12, dtype=torch.bool)
    reached[4:8, 4:8] = True
    assert (moved[reached] > 1e-6).all()
    assert (moved[~reached] == 0).all()


def test_a_window_below_the_base_is_its_own_base(correlation: Callable):
    assert correlation("fused", 2, 4).to_base.weight.shape == (1, 1)
    assert correlation("fused", 8, 4).to_base.weight.shape == (1, 4)


@pytest.mark.parametrize("formulation", get_args(spec.Formulation))
def test_branches_alone_add_up_to_both(formulation: spec.Formulation, correlation: Callable):
    """With the columns of their half of the projection, they leave each other's half out."""
    both, spatial, channel = (
        correlation(formulation, 4, 2, changes) for changes in ({}, SPATIAL, CHANNEL)
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


@pytest.mark.parametrize("formulation", get_args(spec.Formulation))
def test_a_softmax_makes_averages_of_base_cells(
    formulation: spec.Formulation, correlation: Callable
):
    """By the definition of attention: each token's weights over the cells sum to one."""
    mixer = correlation(formulation, 4, 2, {**SPATIAL, "softmax": True})
    mixer.features = nn.Identity()
    x = torch.randn(1, 4, 4, WIDTH, dtype=torch.float64)
    q, v = x.flatten(1, 2).chunk(2, -1)
    cells = mixer.base_cells(v)[0].unflatten(-1, (HEADS, -1))
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


@pytest.mark.parametrize("formulation", get_args(spec.Formulation))
def test_a_shift_moves_the_windows_around_the_edges(
    formulation: spec.Formulation, correlation: Callable
):
    shifted = correlation(formulation, 4, 2, shift=2)
    still = correlation(formulation, 4, 2)
    for mixer in (still, shifted):
        mixer.features = nn.Identity()  # which see the picture as it is
    x = torch.randn(2, 8, 12, WIDTH, dtype=torch.float64)
    moved = torch.cat([torch.cat([x, x], 1), torch.cat([x, x], 1)], 2)[:, 2:10, 2:14]
    found = torch.cat([shifted(x)] * 2, 1)
    found = torch.cat([found] * 2, 2)[:, 2:10, 2:14]
    torch.testing.assert_close(found, still(moved))


def test_a_table_has_an_entry_for_every_offset(correlation: Callable):
    mixer = correlation("fused", 8, 2, {"position": "table"})
    assert mixer.position.bias_table.shape == (15**2, HEADS)
