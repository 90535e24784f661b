import json
import math
from itertools import pairwise
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import hitsr
from hitsr.base.errors import DataError
from hitsr.measure.attribution import PUBLISHED, Attribution, local_attribution
from hitsr.measure.attribution_batches import Window, objective
from hitsr.measure.attribution_path import BlurPath
from hitsr.models.correlation import Correlation
from hitsr.records import AttributionSettings

GOLDEN = Path(__file__).parents[1] / "golden"
FEW = AttributionSettings(steps=4)


class Enlarge(nn.Module):
    """Upscales by 2 by repeating pixels, times a weight per channel."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.5, 1.0, 2.0]).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        assert not self.training
        return F.interpolate(x * self.weight, scale_factor=2)


class Convolutions(nn.Module):
    """A small nonlinear network, in training mode."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 12, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.last(F.gelu(4 * self.first(x))), 2)


def picture(h: int = 12, w: int = 14) -> Tensor:
    return torch.rand((1, 3, h, w), generator=torch.Generator().manual_seed(1))


def published(name: str) -> nn.Module:
    """A published network with the weights whose formula is in tests/golden/README.md."""
    model = hitsr.create(name, 2)
    with np.load(GOLDEN / f"{name}_x2.npz") as file:
        state, salt = json.loads(str(file["state"])), int(file["salt"])
    hitsr.load_weights(model, {key: _by_formula(salt, key, shape) for key, shape in state})
    return model


def _by_formula(salt: int, key: str, shape: list[int]) -> Tensor:
    x = np.arange(np.prod(shape), dtype=np.uint32) + np.uint32(crc32(f"{salt}/{key}".encode()))
    x ^= x >> 16
    x *= np.uint32(0x7FEB352D)
    x ^= x >> 15
    x *= np.uint32(0x846CA68B)
    x ^= x >> 16
    u = x / 2**32 - 0.5
    if len(shape) > 1:
        u = 2 * u / np.sqrt(np.prod(shape[1:]))
    else:
        u = 1 + 0.4 * u if key.endswith("weight") else 0.2 * u
    return torch.from_numpy(u.astype(np.float32).reshape(shape))


def plain_loop(model: nn.Module, lr: Tensor, window: Window, settings=PUBLISHED) -> np.ndarray:
    """LAM by the textbook: one step at a time, two-dimensional kernels, gradients for all."""
    reach = settings.kernel // 2
    squares = torch.arange(-reach, reach + 1).double() ** 2

    def blurred(sigma: float) -> Tensor:
        kernel = torch.exp(-(squares[:, None] + squares) / (2 * (sigma + 1e-5) ** 2))
        kernel = (kernel / kernel.sum()).expand(3, 1, -1, -1)
        return F.conv2d(F.pad(lr.double(), [reach] * 4, mode="reflect"), kernel, groups=3)

    model.eval()
    sigmas = np.linspace(settings.sigma, 0, settings.steps + 1)
    x, y, side = window
    total = torch.zeros_like(lr[0], dtype=torch.float64)
    for before, after in pairwise(sigmas):
        node = blurred(after).float().requires_grad_()
        sr = model(node)
        down = (sr[..., :-1, :-1] - sr[..., 1:, :-1]) ** 2
        right = (sr[..., :-1, :-1] - sr[..., :-1, 1:]) ** 2
        (down + right).sqrt()[..., y : y + side, x : x + side].sum().backward()
        total += (node.grad * (blurred(after) - blurred(before)))[0]
    return total.numpy()


def test_a_linear_network_is_attributed_as_by_hand():
    # Rows 15 and 16 of the SR picture are rows 7 and 8 of the LR picture, where its edge is: the
    # pixel's magnitude is weight x (row 8 - row 7). At the path's start the kernel has spread the
    # edge, so that row 8 is the kernel's sum up to its centre, and row 7 that before its centre.
    lr = torch.zeros(1, 3, 16, 16)
    lr[..., 8:, :] = 1
    found = local_attribution(Enlarge(), lr, (10, 15, 1), settings=FEW)
    offsets = np.arange(-4, 5)
    kernel = np.exp(-(offsets**2) / (2 * 1.20001**2))
    kernel /= kernel.sum()
    row_8, row_7 = kernel[offsets <= 0].sum(), kernel[offsets <= -1].sum()
    weights = np.array([0.5, 1, 2])
    expected = np.zeros((3, 16, 16))
    expected[:, 8, 5] = weights * (1 - row_8)
    expected[:, 7, 5] = -weights * (0 - row_7)
    np.testing.assert_allclose(found.channels, expected, atol=1e-6)
    assert found.change == pytest.approx(3.5 * (1 - (row_8 - row_7)), abs=1e-6)
    assert found.completeness_error < 1e-6
    np.testing.assert_allclose(found.map[7:9, 5], 1, atol=1e-6)
    assert found.diffusion_index == pytest.approx(100 * 2 / 256, abs=1e-4)


@pytest.mark.parametrize("quadrature", ["right", "midpoint"])
def test_attributions_of_a_linear_objective_are_complete_at_any_number_of_steps(quadrature: str):
    lr = torch.linspace(0, 1, 20).square().expand(1, 3, 9, 20)  # rises everywhere, blurred too
    for steps in (1, 3):
        settings = AttributionSettings(steps=steps, quadrature=quadrature)
        found = local_attribution(Enlarge().double(), lr, (7, 5, 1), settings=settings)
        assert found.completeness_error < 1e-9


@pytest.mark.parametrize("name", ["conv", "srformer_light"])
def test_the_map_equals_that_of_the_plain_loop(name: str):
    model = Convolutions() if name == "conv" else published(name)
    settings = PUBLISHED if name == "conv" else AttributionSettings(steps=8)
    lr, window = picture(), (9, 6, 10)
    found = local_attribution(model, lr, window, settings=settings)
    expected = plain_loop(model, lr, window, settings)
    assert np.abs(found.channels - expected).max() < 1e-5 * np.abs(expected).max()
    importance = np.abs(expected.sum(0))
    assert np.abs(found.map - importance / importance.max()).max() < 1e-5
    with torch.no_grad():
        change = [float(objective(model(end), window)) for end in _ends(lr, settings)]
    assert found.change == pytest.approx(change[1] - change[0], rel=1e-5)


def _ends(lr: Tensor, settings: AttributionSettings) -> list[Tensor]:
    path = BlurPath(lr[0].double().numpy(), settings)
    return list(torch.from_numpy(path.at(path.edges[[0, -1]])).float()[:, None])


def test_refining_lowers_the_error_of_a_published_network():
    model = published("srformer_light")
    lr, window = picture(16, 16), (8, 8, 16)
    coarse = local_attribution(model, lr, window, settings=FEW)
    refined = local_attribution(model, lr, window, settings=FEW, refine=True)
    assert refined.completeness_error < 0.01 < coarse.completeness_error
    assert refined.settings.quadrature == "midpoint"
    assert refined.diffusion_index == pytest.approx(coarse.diffusion_index, abs=5)


def test_refining_doubles_the_steps_until_the_error_is_small():
    found = local_attribution(
        Convolutions(), picture(), (9, 6, 10), settings=AttributionSettings(steps=1), refine=True
    )
    assert found.completeness_error < 0.01
    assert found.settings.steps in (2, 4, 8, 16, 32, 64)


def test_more_steps_lower_the_completeness_error():
    errors = [
        local_attribution(
            Convolutions(), picture(), (9, 6, 10), settings=AttributionSettings(steps=steps)
        ).completeness_error
        for steps in (10, 20, 40, 80)
    ]
    assert errors == sorted(errors, reverse=True)


def test_the_memory_limit_changes_only_the_batches():
    seen: list[list[int]] = []
    found = []
    for memory_bytes in (1, 2**18, 2**40):
        model, sizes = Convolutions(), []
        model.first.register_forward_hook(lambda _m, x, _y, to=sizes: to.append(len(x[0])))
        found.append(local_attribution(model, picture(), (9, 6, 10), memory_bytes=memory_bytes))
        seen.append(sizes)
    assert seen[0] == [2] + [1] * 41  # two ends of the path, then its steps
    assert seen[2] == [2, 1, 40]
    assert 3 < len(seen[1]) < 42
    for other in found[1:]:
        np.testing.assert_allclose(other.channels, found[0].channels, atol=1e-6)


def test_the_model_is_left_as_it_was():
    model = Convolutions()
    model.last.bias.requires_grad_(False)
    wanted = [parameter.requires_grad for parameter in model.parameters()]
    before = torch.backends.cuda.matmul.fp32_precision
    with pytest.raises(ValueError, match="outside the SR picture, 28x24"):
        local_attribution(model, picture(), (20, 20, 9))
    with torch.inference_mode():
        local_attribution(model, picture(), (9, 6, 10), settings=FEW)
    assert [parameter.requires_grad for parameter in model.parameters()] == wanted
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.training
    assert torch.backends.cuda.matmul.fp32_precision == before


def test_position_biases_are_computed_once():
    made = []
    spec = hitsr.NETWORKS["hit_sir"].patch({"depths": [6], "windows.ratios": [1, 1, 1, 1, 1, 1]})
    model = hitsr.create(spec, 2)
    for module in model.modules():
        if isinstance(module, Correlation):
            module.position.register_forward_hook(lambda *_: made.append(1))
    local_attribution(model, picture(8, 8), (4, 4, 8), settings=FEW, memory_bytes=1)
    assert len(made) == 6


def test_network_without_parameters_and_float64_network():
    class Bicubic(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.interpolate(x, scale_factor=2, mode="bicubic")

    found = local_attribution(Bicubic(), picture(), (9, 6, 10))
    fine = local_attribution(Bicubic(), picture().double(), (9, 6, 10))
    np.testing.assert_allclose(found.map, fine.map, atol=1e-5)
    # SR pixels 9 to 19 by 6 to 16 (one more for the slopes), and four taps each way.
    rows, columns = found.map.nonzero()
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (1, 9, 3, 11)


@pytest.mark.parametrize("size", [(1, 9), (3, 2), (20, 5)])
def test_the_path_is_scipy_s_blur_at_any_size(size: tuple[int, int]):
    from scipy.ndimage import correlate1d

    lr = picture(*size)[0].double().numpy()
    path = BlurPath(lr, PUBLISHED)
    offsets = np.arange(-4, 5)
    for sigma in (1.2, 0.7):
        weights = np.exp(-(offsets**2) / (2 * (sigma + 1e-5) ** 2))
        expected = lr
        for axis in (1, 2):
            expected = correlate1d(expected, weights / weights.sum(), axis, mode="mirror")
        np.testing.assert_allclose(path.at(np.array([sigma]))[0], expected, atol=1e-12)
    assert np.array_equal(path.at(np.zeros(1))[0], lr)
    _, changes = path.steps(0, len(path))
    np.testing.assert_allclose(changes.sum(0), lr - path.at(np.array([1.2]))[0], atol=1e-12)


def test_objective_sums_magnitudes_of_slopes():
    sr = torch.zeros(2, 1, 6, 6)
    sr[1, 0, 3, 3] = 3
    # Its own pixel has two slopes of 3; the one above and the one to the left have one each.
    assert objective(sr, (0, 0, 5)).tolist() == pytest.approx([0, 3 * 2**0.5 + 3 + 3])
    assert objective(sr, (3, 3, 2)).tolist() == pytest.approx([0, 3 * 2**0.5])


def test_equal_neighbours_have_a_gradient_of_zero():
    sr = torch.ones(1, 3, 6, 6, requires_grad=True)
    objective(sr, (1, 1, 3)).sum().backward()
    assert torch.equal(sr.grad, torch.zeros_like(sr))


@pytest.mark.parametrize(
    ("lr", "window", "message"),
    [
        (torch.zeros(3, 8, 8), (0, 0, 4), r"tensor, \(1, 3, h, w\) RGB.*got Tensor \(3, 8, 8\)"),
        (torch.zeros(2, 3, 8, 8), (0, 0, 4), "must be one picture"),
        (torch.zeros(1, 1, 8, 8), (0, 0, 4), "must be one picture"),
        (torch.zeros(1, 3, 0, 8), (0, 0, 4), "not empty"),
        (torch.zeros(1, 3, 8, 8).byte(), (0, 0, 4), "floats in .* torch.uint8"),
        (np.zeros((1, 3, 8, 8)), (0, 0, 4), r"as a tensor.* got \(1, 3, 8, 8\) float64"),
        ([[0.5]], (0, 0, 4), "as a tensor.* got list"),
        (torch.full((1, 3, 8, 8), math.nan), (0, 0, 4), "in .0, 1., got nan"),
        (torch.zeros(1, 3, 8, 8), (0, 0), "three whole numbers"),
        (torch.zeros(1, 3, 8, 8), (0.5, 0, 4), "three whole numbers"),
        (torch.full((1, 3, 8, 8), 255.0), (0, 0, 4), r"must be in \[0, 1\], got 255"),
        (torch.zeros(1, 3, 8, 8), (-1, 0, 4), "x and y must be 0 or more"),
        (torch.zeros(1, 3, 8, 8), (0, 0, 0), "side 1 or more"),
        (torch.zeros(1, 3, 8, 8), (0, 13, 4), "outside the SR picture, 16x16"),
    ],
)
def test_bad_arguments_are_refused(lr: Tensor, window: Window, message: str):
    with pytest.raises(ValueError, match=message):
        local_attribution(Enlarge(), lr, window)


def test_half_precision_is_refused():
    with pytest.raises(ValueError, match=r"too coarse to integrate; use model\.float"):
        local_attribution(Enlarge().half(), picture(), (0, 0, 4))


def test_flat_picture_is_refused():
    with pytest.raises(DataError, match="choose one with detail"):
        local_attribution(Enlarge(), torch.full((1, 3, 8, 8), 0.5), (0, 0, 8))


def test_attribution_is_public():
    assert hitsr.local_attribution is local_attribution
    assert isinstance(
        hitsr.local_attribution(Enlarge(), picture(), (4, 4, 8), settings=FEW), Attribution
    )
