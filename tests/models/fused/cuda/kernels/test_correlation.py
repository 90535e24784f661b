from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from hitsr.models.correlation import Correlation
from hitsr.models.fused.cuda.kernels import correlation
from hitsr.models.fused.cuda.kernels.correlation import (
    correlation_branch,
    laid_out,
    why_not_correlation,
)
from hitsr.models.fused.position import pooled_bias
from hitsr.models.ngram import NgramContext
from hitsr.models.position import averaged_bias
from hitsr.models.windows import extend
from hitsr.specs import network as spec

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
HALVES = DTYPES[1:]


class Branch(nn.Module):
    """The first branch of a block in the paper formulation, with lively weights."""

    def __init__(
        self,
        window: int,
        *,
        base: int = 8,
        c: int = 60,
        heads: int = 6,
        context: bool = False,
        position: str = "dynamic",
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.multiple = 2 * window if context else window
        grams = NgramContext(c, heads, window, 2, True, "paper") if context else None
        mixer = spec.Correlation(heads=heads, position=position)
        self.mixer = Correlation(c, mixer, window, base, 0, grams, "paper")
        self.norm = nn.LayerNorm(c)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn_like(parameter) * (0.3 if parameter.ndim > 1 else 0.2))
            self.norm.weight += 1
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.mixer(extend(x, self.multiple))[:, : x.shape[1], : x.shape[2]]
        return x + self.norm(mixed)

    def by_kernels(self, x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        mixer, bias = self.mixer, None
        assert why_not_correlation(x, mixer) is None
        if mixer.position is not None:
            bias = pooled_bias(mixer.position(mixer.window), mixer.ratio)
            bias = laid_out(bias, mixer.window, mixer.ratio)
        return correlation_branch(x, self.norm, mixer, bias, dtype=dtype, context_of=_context_of)


def _context_of(module: NgramContext, qv: Tensor) -> Tensor:
    return module.context_of(module._unigrams(qv))


def _features(*shape: int, device: torch.device) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(shape).to(device)


@torch.no_grad()
def _check(branch: Branch, x: Tensor, dtype: torch.dtype = torch.float32) -> None:
    """Kernels in a dtype against float64, beside PyTorch's own rounding in float32."""
    branch, x = branch.to(x.device, dtype), x.to(dtype)
    found = branch.by_kernels(x)
    assert found.dtype == dtype
    assert found.shape == x.shape
    exact = deepcopy(branch).double()(x.double())
    own = (branch.float()(x.float()) - exact).abs().max()
    error, eps = (found - exact).abs(), torch.finfo(dtype).eps
    assert error.max() < 32 * eps + 8 * own
    assert error.square().mean().sqrt() < 8 * eps + own


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("window", "size"), [(4, (7, 17)), (8, (9, 16)), (16, (15, 9))])
def test_result_is_that_of_float64(
    window: int, size: tuple[int, int], dtype: torch.dtype, device: torch.device
):
    _check(Branch(window), _features(1, *size, 60, device=device), dtype)


@pytest.mark.parametrize(
    ("window", "base", "size"),
    [
        (4, 8, (1, 1)),  # one pixel, reflected to a window
        (16, 8, (1, 5)),
        (24, 8, (3, 2)),  # reflected again and again
        (10, 2, (7, 9)),  # 25 tiles, two in each program but the last
        (6, 6, (7, 13)),  # cells that are no power of two
        (6, 3, (7, 4)),
        (2, 1, (2, 3)),
        (1, 1, (3, 3)),
    ],
)
def test_any_window_takes_pictures_of_any_size(
    window: int, base: int, size: tuple[int, int], device: torch.device
):
    _check(Branch(window, base=base, c=24, heads=2), _features(1, *size, 24, device=device))


@pytest.mark.parametrize("window", [4, 16])
@pytest.mark.parametrize(("c", "heads"), [(64, 2), (36, 3), (36, 1), (30, 5), (10, 1)])
def test_any_heads_and_channels(c: int, heads: int, window: int, device: torch.device):
    _check(Branch(window, c=c, heads=heads), _features(1, 5, 4, c, device=device))


@pytest.mark.parametrize(("window", "base"), [(4, 8), (8, 8), (4, 2)])
def test_pictures_of_a_batch_do_not_mix(window: int, base: int, device: torch.device):
    """Three windows of 4x4: those of one program belong to several pictures."""
    _check(Branch(window, base=base), _features(3, 4, 3, 60, device=device))


@pytest.mark.parametrize("window", [4, 16])
def test_there_may_be_no_positions(window: int, device: torch.device):
    _check(Branch(window, position="none"), _features(1, 5, 9, 60, device=device))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("window", "size"), [(4, (9, 5)), (8, (5, 17))])
def test_ngram_context_comes_between(
    window: int, size: tuple[int, int], dtype: torch.dtype, device: torch.device
):
    _check(Branch(window, context=True), _features(1, *size, 60, device=device), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_ngram_context_comes_between_in_large_windows(dtype: torch.dtype, device: torch.device):
    branch = Branch(4, base=2, context=True)
    _check(branch, _features(1, 3, 5, 60, device=device), dtype)


@pytest.mark.parametrize("base", [4, 8])
def test_windows_mix_nothing_of_others(base: int, device: torch.device):
    """Beyond the 3x3 pixels of the features, a window depends on itself alone."""
    window = 8
    branch, x = Branch(8, base=base).to(device), _features(1, 8, 16, 60, device=device)
    changed = x.clone()
    changed[:, :, window + 1 :] = 100
    with torch.no_grad():
        found, other = branch.by_kernels(x), branch.by_kernels(changed)
    assert torch.equal(found[:, :, :window], other[:, :, :window])


@pytest.mark.parametrize("context", [False, True])
@pytest.mark.parametrize(("c", "heads"), [(60, 6), (36, 3), (30, 5)])
def test_where_programs_are_enough_they_take_two_windows_and_many_tiles(
    c: int, heads: int, context: bool, device: torch.device, monkeypatch: pytest.MonkeyPatch
):
    """Three windows, or four."""
    monkeypatch.setattr(correlation, "_PROGRAMS", 1)
    branch = Branch(2, base=1, c=c, heads=heads, context=context)
    _check(branch, _features(1, 1, 5, c, device=device))


@pytest.mark.parametrize("context", [False, True])
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(("window", "base"), [(4, 8), (8, 8), (4, 2)])
def test_values_may_exceed_what_float16_holds(
    window: int, base: int, dtype: torch.dtype, context: bool, device: torch.device
):
    branch = Branch(window, base=base, context=context)
    with torch.no_grad():
        for layer in (branch.mixer.features.expand, branch.mixer.features.gate):
            layer.weight *= 60
        if branch.mixer.context is not None:
            branch.mixer.context.merge.weight *= 0.01
    x = _features(1, 3, 6, 60, device=device)
    wide = deepcopy(branch).to(device, torch.float64)
    with torch.no_grad():
        qv = wide.mixer.features(x.double())
        mixed = wide.mixer(extend(x.double(), branch.multiple))
    assert qv.abs().max() > 1e5
    assert mixed.abs().max() > 1e12
    _check(branch, x, dtype)


@pytest.mark.parametrize("window", [4, 16])
def test_products_may_be_narrower_than_features(window: int, device: torch.device):
    """Autocast to bfloat16: features, parameters and the result in float32."""
    branch, x = Branch(window).to(device), _features(1, 5, 9, 60, device=device)
    with torch.no_grad():
        found = branch.by_kernels(x, torch.bfloat16)
        exact = branch.double()(x.double())
    assert found.dtype == torch.float32
    error = (found - exact).abs().max()
    assert 1e-4 < error < 16 * torch.finfo(torch.bfloat16).eps


@pytest.mark.parametrize(("side", "ratio"), [(4, 1), (12, 3)])
def test_biases_are_laid_out_by_tiles(side: int, ratio: int):
    base = side // ratio
    bias = averaged_bias(torch.randn(2, 2 * side - 1, 2 * side - 1), ratio)
    found = laid_out(bias, side, ratio)
    for tile in range(ratio**2):
        for cell in range(base**2):
            y = cell // base * ratio + tile // ratio
            x = cell % base * ratio + tile % ratio
            assert torch.equal(found[tile, :, cell], bias[:, y * side + x])


def test_what_kernels_do_not_take_has_a_reason():
    def reason(c: int = 60, window: int = 8, base: int = 8, shift: int = 0, **changes: object):
        mixer = spec.Correlation(**({"heads": 6} | changes))
        made = Correlation(c, mixer, window, base, shift, None, "paper")
        return why_not_correlation(torch.zeros(1, 8, 8, c), made)

    assert reason() is None
    assert reason(c=72) == "72 channels, more than 64"
    assert reason(branches=("spatial",)) == "one branch alone"
    assert reason(branches=("channel",)) == "one branch alone"
    assert reason(features="conv") == "conv features"
    assert reason(softmax=True) == "a softmax"
    assert reason(shift=4) == "shifted windows"
    assert reason(window=16, base=16) == "base windows of 16x16, more than 8x8"
    large = torch.zeros(()).expand(40_000, 30, 30, 60)
    mixer = Correlation(60, spec.Correlation(), 64, 8, 0, None, "paper")
    assert why_not_correlation(large, mixer) == "more values than 32 bits count"
