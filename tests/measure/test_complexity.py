import copy
import ctypes
import json
import math
import os
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention.flex_attention import flex_attention
from torch.utils.flop_counter import register_flop_formula

import hitsr
from hitsr.base.errors import SpecError
from hitsr.measure.complexity import FlopCounter, count, input_size_for
from hitsr.models.fused.backend import forced
from hitsr.models.fused.cuda.choice import only
from hitsr.records import Complexity
from hitsr.specs.network import Formulation

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "complexity.json").read_text())
COUNTERS: tuple[FlopCounter, ...] = ("torch", "fvcore")


class Small(nn.Module):
    """One of each kind of operator that the networks use."""

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
def test_counts_as_by_hand(counter: FlopCounter):
    pixels = 10 * 8  # 9x7, padded by one
    macs = pixels * (3 * 8 * 9 + 8 * 25 + 8 * 24 + 8 * 12) + 2 * 2 * pixels * pixels * 4
    norms = pixels * 8 * (5 + 4)
    found = count(Small(), (9, 7), counter)
    assert found.flops == macs + norms == sum(found.flops_by_operator.values())
    weights = (3 * 9 + 1) * 8 + (25 + 1) * 8 + 2 * 8 + (8 + 1) * 24 + (8 + 1) * 12
    assert found.params == weights
    assert found.counter == counter


def test_uncounted_operators_are_listed_without_views_and_copies():
    assert count(Small(), (9, 7)).uncounted == {
        "_softmax": 1, "gelu": 1, "pixel_shuffle": 1, "reflection_pad2d": 1,
    }  # fmt: skip
    assert "softmax" in count(Small(), (9, 7), "fvcore").uncounted


@pytest.mark.parametrize("counter", COUNTERS)
def test_leaves_the_model_as_it_was(counter: FlopCounter):
    model = Small().train()
    before = copy.deepcopy(model.state_dict())
    count(model, (9, 7), counter)
    assert model.training
    assert all(p.device.type == "cpu" and p.grad is None for p in model.parameters())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    "function",
    [lambda x: F.scaled_dot_product_attention(x, x, x), lambda x: torch.baddbmm(x[0], x[0], x[0])],
)
def test_fvcore_refuses_products_that_it_does_not_count(function):
    with pytest.raises(ValueError, match=r"fvcore cannot count .*use the torch counter"):
        count(Calls(function), (8, 8), "fvcore")


def test_attention_is_counted_as_its_two_products():
    q, k, v = torch.ones(2, 3, 5, 4), torch.ones(2, 3, 7, 4), torch.ones(2, 3, 7, 6)
    bias = torch.ones(1, 1, 5, 7)
    found = count(Calls(lambda _: F.scaled_dot_product_attention(q, k, v, bias)), (8, 8))
    assert found.flops_by_operator == {
        "scaled_dot_product_attention": 2 * 3 * (5 * 7 * 4 + 5 * 7 * 6)
    }
    assert found.activations == 2 * 3 * 5 * 6


def test_added_batched_product_is_counted_as_a_product():
    a, b, c = torch.ones(2, 5, 4), torch.ones(2, 4, 6), torch.ones(2, 5, 6)
    found = count(Calls(lambda _: torch.baddbmm(c, a, b)), (8, 8))
    assert found.flops_by_operator == {"baddbmm": 2 * 5 * 4 * 6}
    assert found.activations_by_operator == {"baddbmm": 2 * 5 * 6}


def test_an_operator_that_the_counters_count_differently_is_refused():
    with pytest.raises(ValueError, match="cannot count einsum: fvcore rounds"):
        count(Calls(lambda x: torch.einsum("bchw,bdhw->bcd", x, x)), (8, 8))


@pytest.mark.parametrize(
    "module",
    [
        nn.BatchNorm2d(3),
        nn.BatchNorm2d(3, affine=False),
        nn.GroupNorm(1, 3),
        nn.InstanceNorm2d(3, affine=True),
        nn.AdaptiveAvgPool2d(2),
        nn.Upsample(scale_factor=2),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.Upsample(scale_factor=2, mode="bicubic"),
        Calls(lambda x: F.grid_sample(x, x.new_zeros(1, 4, 5, 2), align_corners=False)),
    ],
)
def test_norms_and_resampling_are_counted_as_fvcore_does(module: nn.Module):
    ours, theirs = (count(module, (9, 7), counter) for counter in COUNTERS)
    assert ours.flops_by_operator == theirs.flops_by_operator
    assert ours.unknown == theirs.unknown == {}
    assert ours.activations == 0


@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda x: torch.mv(x[0, 0], x[0, 0, 0]), "mv"),
        (lambda x: torch.fft.rfft2(x).real, "_fft_r2c"),
        (lambda x: torch.cdist(x, x), "_cdist_forward"),
        (lambda x: torch.linalg.matrix_exp(x), "linalg_matrix_exp"),
        (lambda x: torch._int_mm(*(x[0, 0].to(torch.int8),) * 2), "_int_mm"),
        (lambda x: torch.sparse.mm(x[0, 0].to_sparse(), x[0, 0]), "_sparse_addmm"),
    ],
)
def test_products_without_a_formula_are_named(function, name: str, counter: FlopCounter):
    model = nn.Sequential(nn.Conv2d(3, 3, 1), Calls(function))
    found = count(model, (24, 24), counter, strict=False)
    assert name in found.unknown
    assert name not in found.uncounted
    assert found.flops == 24 * 24 * 9
    with pytest.raises(ValueError, match=rf"cannot count .*{name}.*may compute products"):
        count(model, (24, 24), counter)


@torch.library.custom_op("hitsr_tests::squared", mutates_args=())
def squared(x: Tensor) -> Tensor:
    """A product, hidden in an operator that torch knows nothing of."""
    return x @ x


@torch.library.custom_op("hitsr_tests::squared_on_meta", mutates_args=())
def squared_on_meta(x: Tensor) -> Tensor:
    return x @ x


squared_on_meta.register_fake(torch.empty_like)


@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.parametrize("operator", [squared, squared_on_meta])
def test_an_operator_of_another_library_is_named(operator, counter: FlopCounter):
    model = nn.Sequential(nn.Conv2d(3, 3, 1), Calls(lambda x: operator(operator(x))))
    found = count(model, (8, 8), counter, strict=False)
    assert found.unknown == {operator._qualname: 2}
    assert found.flops == 8 * 8 * 9


def test_an_operator_of_another_library_with_a_formula_is_counted():
    @torch.library.custom_op("hitsr_tests::known", mutates_args=())
    def known(x: Tensor) -> Tensor:
        return x @ x

    @register_flop_formula(torch.ops.hitsr_tests.known)
    def _(shape, **_: object) -> int:
        return 2 * math.prod(shape) * shape[-1]

    found = count(Calls(lambda x: known(x)), (8, 8))
    assert found.flops_by_operator == {"hitsr_tests::known": 3 * 8**3}


def test_the_parts_of_an_autograd_function_are_counted():
    class Doubled(torch.autograd.Function):
        @staticmethod
        def forward(_, x: Tensor) -> Tensor:
            return x @ x

    model = Calls(Doubled.apply)
    found = count(model, (8, 8))
    assert (found.flops, found.unknown) == (3 * 8**3, {})
    by_fvcore = count(model, (8, 8), "fvcore", strict=False)
    assert list(by_fvcore.unknown) == ["prim::PythonOp.Doubled"]  # it cannot look inside


@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.from_numpy(x.numpy() @ x.numpy()),
        lambda x: torch.from_dlpack(x.numpy() @ x.numpy()) * 2,
        lambda x: _filled(torch.empty_like(x), x),
        lambda x: _filled(x.new_empty(x.shape), x).flatten(1) + 1,
    ],
)
def test_code_outside_pytorch_is_told_by_what_it_leaves(function, counter: FlopCounter):
    model = nn.Sequential(nn.Conv2d(3, 3, 1), Calls(function))
    assert count(model, (8, 8), counter, strict=False).unknown == {"code outside PyTorch": 1}


def _filled(out: Tensor, x: Tensor) -> Tensor:
    """Write a product into memory that `empty` made, without torch, as a kernel does."""
    product = x.contiguous().numpy() @ x.contiguous().numpy()
    ctypes.memmove(out.data_ptr(), product.ctypes.data, product.nbytes)
    return out


def test_tensors_that_were_there_before_or_that_torch_fills_are_no_foreign_code():
    constant = torch.ones(8)
    held = SimpleNamespace(table=torch.arange(8.0))

    def function(x: Tensor) -> Tensor:
        out = torch.empty_like(x)
        out.view(-1)[:] = x.flatten()
        torch.add(x, x, out=(more := torch.empty_like(x)))
        mean = torch.tensor([0.4488, 0.4371, 0.4040])[:, None, None]
        return out + more + constant + held.table - mean

    picks = Calls(lambda x: function(x) if x.nonzero() is not None else x)  # not on the meta device
    assert count(Calls(function), (8, 8)).unknown == count(picks, (8, 8)).unknown == {}


def test_compiled_parts_are_counted_as_without_the_compiler():
    part = torch.compile(nn.Conv2d(3, 5, 1), backend="aot_eager")
    model = nn.Sequential(part, nn.Conv2d(5, 3, 1)).eval()
    with torch.inference_mode():
        model(torch.zeros(1, 3, 8, 8))
    found = count(model, (8, 8))
    assert (found.flops, found.unknown) == (8 * 8 * 30, {})


@pytest.mark.filterwarnings("ignore:flex_attention called without")
def test_higher_order_operators_are_counted_or_named():
    flex = count(Calls(lambda x: flex_attention(x, x, x)), (16, 8))
    assert flex.flops_by_operator == {"flex_attention": 2 * 3 * 8 * 8 * 16}
    branch = Calls(lambda x: torch.cond(x.sum() > 1, torch.square, lambda x: x @ x.mT, (x,)))
    assert count(branch, (8, 8), strict=False).unknown == {"cond": 1}


def test_a_replayed_graph_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", lambda _: None)
    out = torch.ones(1, 3, 8, 8)

    def replayed(x: Tensor) -> Tensor:
        torch.cuda.CUDAGraph.replay(None)  # type: ignore[arg-type]
        return out + x.sum()

    assert count(Calls(replayed), (8, 8), strict=False).unknown == {"CUDA graph": 1}


TRITON = """
import torch, triton
from torch import nn
from triton import language as tl
from hitsr.measure.complexity import count

@triton.jit
def doubled(x, out, n, SIZE: tl.constexpr):
    at = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    tl.store(out + at, tl.load(x + at, mask=at < n) * 2, mask=at < n)

class Launches(nn.Module):
    def __init__(self, kernel, in_place):
        super().__init__()
        self.first, self.in_place = nn.Conv2d(3, 3, 1), in_place
        Launches.kernel = kernel

    def forward(self, x):
        x = self.first(x)
        out = x if self.in_place else torch.empty_like(x)
        self.kernel[(3,)](x, out, 192, SIZE=64)
        return out

for kernel in (doubled, triton.heuristics({})(doubled), torch.library.wrap_triton(doubled)):
    for in_place in (False, True):
        for counter in ("torch", "fvcore"):
            model = Launches(kernel, in_place)
            picture = torch.ones(1, 3, 8, 8)
            assert torch.equal(model(picture), 2 * model.first(picture)), "the kernel must run"
            found = count(model, (8, 8), counter, strict=False)
            assert found.unknown == {"Triton kernel doubled": 1}, (kernel, counter, found.unknown)
            assert found.flops == 8 * 8 * 9
try:
    count(model, (8, 8))
except ValueError as error:
    print(error)
"""


def test_triton_kernels_are_named_however_they_are_launched():
    pytest.importorskip("triton", reason="comes with PyTorch for CUDA")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TRITON],
        capture_output=True, text=True, env={**os.environ, "TRITON_INTERPRET": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "cannot count Triton kernel doubled: it may compute products" in done.stdout


@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_no_flops_hide_in_the_kernels_of_a_network(name: str):
    """FLOPs are those of the paper formulation; counting kernels themselves is refused."""
    triton = pytest.importorskip("triton", reason="comes with PyTorch for CUDA")
    if not triton.knobs.runtime.interpret:
        pytest.skip("needs TRITON_INTERPRET=1, set before Triton is imported")
    network = hitsr.NETWORKS[name].patch({"depths": [1], "windows.ratios": [1]})
    by_paper = count(hitsr.create(network, 2, formulation="paper"), (16, 16))
    with forced("cuda"), only("kernel"):
        fused = hitsr.create(network, 2)
        assert hitsr.complexity(network, 2, (32, 32)).flops == by_paper.flops
        with pytest.raises(ValueError, match=r"cannot count Triton kernel \w+.*paper formulation"):
            count(fused, (16, 16))
        listed = count(fused, (16, 16), strict=False)
    assert all(each.startswith("Triton kernel ") for each in listed.unknown)


@pytest.mark.parametrize("formulation", ["released", "paper", "fused"])
@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_nothing_is_unknown_in_networks_of_hitsr(name: str, formulation: Formulation):
    network = hitsr.NETWORKS[name].patch({"depths": [6]})
    for with_values in (True, False):
        with torch.device("cpu" if with_values else "meta"):
            model = hitsr.create(network, scale=2, formulation=formulation)
        assert count(model, (17, 24)).unknown == {}


def test_fvcore_needs_real_weights():
    with torch.device("meta"):
        model = Small()
    assert count(model, (9, 7)).flops
    with pytest.raises(ValueError, match="meta device"):
        count(model, (9, 7), "fvcore")


def test_activations_are_the_outputs_of_products():
    pixels = 10 * 8
    found = count(Small(), (9, 7))
    products = pixels * (8 + 8 + 24 + 12) + 2 * pixels * pixels + 2 * pixels * 4
    assert found.activations == products == sum(found.activations_by_operator.values())


def test_the_cost_of_a_module_is_that_of_its_operators():
    modules = {module.name: module for module in count(Small(), (9, 7)).modules}
    pixels = 10 * 8
    assert {name: module.flops for name, module in modules.items()} == {
        "first": pixels * 3 * 8 * 9,
        "depthwise": pixels * 8 * 25,
        "norm": pixels * 8 * 5,
        "plain_norm": pixels * 8 * 4,
        "linear": pixels * 8 * 24,
        "last": pixels * 8 * 12,
    }
    assert (modules["linear"].kind, modules["linear"].params) == ("Linear", 9 * 24)
    assert modules["linear"].activations == pixels * 24


def test_costs_of_submodules_add_up():
    inner = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Sequential(nn.Conv2d(3, 5, 3)))
    modules = {m.name: m for m in count(nn.Sequential(inner), (8, 8)).modules}
    for cost in ("flops", "activations", "params"):
        of = {name: getattr(module, cost) for name, module in modules.items()}
        assert of["0"] == of["0.0"] + of["0.1"]
        assert of["0.1"] == of["0.1.0"] > 0


def test_peak_memory_counts_live_tensors():
    class Peaks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.thrice = Calls(lambda x: torch.cat([x, x, x], 1))
            self.weight = nn.Parameter(torch.ones(1000, 1000))

        def forward(self, x: Tensor) -> Tensor:
            y = x + 1  # 1 picture; x itself existed before
            view = y[..., 1:].transpose(2, 3)
            del y  # its memory lives on in the view
            big = self.thrice(view.transpose(2, 3).clone())  # 1 + nearly 1 + nearly 3
            del view
            return big[:, :1] * 2

    picture = 3 * 8 * 16 * 4
    shorter = 3 * 8 * 15 * 4
    found = count(Peaks(), (16, 8))
    assert found.peak_activation_bytes == picture + 4 * shorter
    assert found.peak_activation_at == "thrice"


def test_sizes_that_depend_on_values_need_real_tensors():
    class Picks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 5)

        def forward(self, x: Tensor) -> Tensor:
            rows = (torch.arange(8, device=x.device) % 2).nonzero().squeeze(1)
            return self.linear(x.transpose(1, 3)[:, :, rows])

    assert count(Picks(), (8, 8)).flops == 8 * 4 * 3 * 5
    with pytest.raises(ValueError, match=r"meta device: .*use real weights"):
        count(Picks().to("meta"), (8, 8))


@pytest.mark.parametrize(("scale", "expected"), [(2, (640, 360)), (3, (427, 240)), (4, (320, 180))])
def test_input_sizes_of_the_published_tables(scale: int, expected: tuple[int, int]):
    assert input_size_for((1280, 720), scale) == expected


@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_torch_and_fvcore_give_the_same_integers(name: str):
    # A small and a large window, or an unshifted and a shifted one: fvcore takes seconds for more.
    network = hitsr.NETWORKS[name]
    ratios = (network.windows.ratios[0], network.windows.ratios[3])
    cut = network.patch({"depths": [2], "windows.ratios": ratios})
    model = hitsr.create(cut, scale=2, formulation="paper")
    ours, theirs = count(model, (20, 17), "torch"), count(model, (20, 17), "fvcore")
    assert ours.flops == theirs.flops
    assert [(m.name, m.flops) for m in ours.modules] == [(m.name, m.flops) for m in theirs.modules]


@pytest.mark.parametrize("name", ["swinir_ng", "srformer_light", "hit_srf"])
def test_activations_equal_fvcore_s(name: str):
    network = hitsr.NETWORKS[name].patch({"depths": [1], "windows.ratios": [0.5]})
    model = hitsr.create(network, scale=2, formulation="paper").eval()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        from fvcore.nn import ActivationCountAnalysis

        analysis = ActivationCountAnalysis(model, torch.zeros(1, 3, 17, 20))
        analysis.unsupported_ops_warnings(False).tracer_warnings("none")
        theirs = {module: int(n) for module, n in analysis.by_module().items() if module}
        total = int(analysis.total())
    ours = count(model, (20, 17))
    assert ours.activations == total
    assert {m.name: m.activations for m in ours.modules if m.activations} == {
        module: n for module, n in theirs.items() if n
    }


@pytest.mark.parametrize("name", ["swinir_light", "srformer_light"])
def test_fused_attention_without_shift_has_the_flops_of_paper(name: str):
    network = hitsr.NETWORKS[name].patch({"depths": [1], "windows.ratios": [1]})
    paper, fused = (
        count(hitsr.create(network, scale=2, formulation=formulation), (32, 32))
        for formulation in ("paper", "fused")
    )
    assert fused.flops == paper.flops
    assert fused.activations < paper.activations  # the scores are no tensor of their own


def test_fused_correlation_costs_as_by_hand():
    network = hitsr.NETWORKS["hit_sir"].patch({"depths": [1], "windows.ratios": [2]})
    found = count(hitsr.create(network, scale=2), (32, 32))
    mixer = next(m for m in found.modules if m.name == "groups.0.blocks.0.mixer")
    tokens, n, t, s, c, half, heads = 32 * 32, 4, 256, 64, 60, 30, 6
    features = tokens * (60 * 12 + 12 * 12 * 9 + 12 * 60 + 60 * 60)
    to_base = n * s * half * 4
    gram = n * s * half * half
    channels = n * t * half * half
    related = 2 * n * t * half * half  # queries by the gram matrix, values by the channels'
    position = 31**2 * (2 * 3 + 3 * 3 + 3 * 3 + 3 * 6 + 3 * 3 * 5)
    placed = heads * t * s * n * half // heads
    last = tokens * c * c
    assert mixer.flops == (
        features + to_base + gram + channels + related + position + placed + last
    )


@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_published_complexity_at_all_scales(name: str):
    golden = GOLDEN["networks"][name]
    for scale, params, gflops in zip((2, 3, 4), golden["params"], golden["gflops"], strict=True):
        found = hitsr.complexity(name, scale) if scale == 2 else _from_one_group(name, scale)
        assert found.params == params
        assert found.flops / 1e9 == pytest.approx(gflops, abs=0.05)
        with torch.device("meta"):
            fused = hitsr.create(name, scale=scale, formulation="fused")
        assert sum(p.numel() for p in fused.parameters()) == params


def _from_one_group(name: str, scale: int) -> Complexity:
    """Count one of the four groups, which cost the same, and extrapolate."""
    found = hitsr.complexity(hitsr.NETWORKS[name].patch({"depths": [6]}), scale)
    group = next(module for module in found.modules if module.name == "groups.0")
    more = {"params": group.params, "flops": group.flops}
    return found.model_copy(
        update={cost: getattr(found, cost) + 3 * added for cost, added in more.items()}
    )


def test_an_output_of_less_than_one_lr_pixel_is_refused():
    with pytest.raises(SpecError, match="output size 64x2: less than one LR pixel at x4"):
        input_size_for((64, 2), 4)
