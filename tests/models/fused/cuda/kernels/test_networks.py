"""Networks whose blocks go through kernels, beside the paper formulation."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn

import hitsr
from hitsr.models.backbone import SuperResolver
from hitsr.models.fused.backend import forced
from hitsr.models.fused.cuda.choice import only
from hitsr.models.fused.cuda.kernels import launch

# Two blocks that differ: without a shift and with one, or with small windows and large ones.
RATIOS = {True: [0.5, 2], False: [1, 1]}
# Computed again with biases from caches; one of each kind, as the interpreter is slow.
CACHED = ("swinir_light", "hit_sir")


@pytest.fixture(autouse=True)
def _kernels_alone() -> Iterator[None]:
    with forced("cuda"), only("kernel"):
        yield


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the kernels that were launched."""
    names: list[str] = []
    run = launch._run

    def noted(kernel, *arguments) -> None:
        names.append(kernel.__name__)
        run(kernel, *arguments)

    monkeypatch.setattr(launch, "_run", noted)
    return names


def _both(name: str, device: torch.device) -> tuple[SuperResolver, SuperResolver]:
    """Two blocks in both formulations, with weights that are not near zero."""
    torch.manual_seed(0)
    changes = {"depths": [2], "windows.ratios": RATIOS[name.startswith("hit")]}
    network = hitsr.NETWORKS[name].patch(changes)
    paper, fused = (hitsr.create(network, 2, formulation=way) for way in ("paper", "fused"))
    for parameter in paper.parameters():
        nn.init.normal_(parameter, std=0.1)
        if parameter.ndim == 1:
            parameter.data += 0.5  # of norms among others
    fused.load_state_dict(paper.state_dict())
    return paper.to(device), fused.to(device)


@pytest.mark.parametrize(
    ("name", "kernels"),
    [
        ("swinir_light", {"_attention_branch": 2, "_mlp": 2}),
        ("swinir_ng", {"_embed": 2, "_ask": 2, "_attention_branch": 2, "_mlp": 2}),
        ("srformer_light", {"_linear": 2, "_attend_and_project": 2, "_expand": 2, "_reduce": 2}),
        ("hit_sir", {"_windows_of_one_tile": 1, "_sums": 1, "_products": 1, "_mlp": 2}),
        ("hit_sng", {"_embed": 2, "_ask": 2, "_windows_of_one_tile": 1, "_sums": 1}),
        ("hit_srf", {"_windows_of_one_tile": 1, "_sums": 1, "_products": 1, "_reduce": 2}),
    ],
)
def test_forwards_are_the_papers_by_kernels_for_whole_branches(
    name: str, kernels: dict[str, int], launched: list[str], device: torch.device
):
    paper, fused = (model.eval() for model in _both(name, device))
    x = torch.rand(1, 3, 7, 13, device=device)
    with torch.inference_mode():
        expected = paper.double()(x.double())
        for _ in range(2 if name in CACHED else 1):
            launched.clear()
            found = fused(x)
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()
    assert {each: launched.count(each) for each in kernels} == kernels
    assert (launched.count("_norm"), launched.count("_convolve")) == (2, 2)


@pytest.mark.parametrize(
    ("name", "dtype"), [("swinir_ng", torch.bfloat16), ("hit_sng", torch.float16)]
)
def test_half_precision_is_float32_to_45_db(name: str, dtype: torch.dtype, device: torch.device):
    torch.manual_seed(0)
    changes = {"depths": [2], "windows.ratios": RATIOS[name.startswith("hit")]}
    model = hitsr.create(hitsr.NETWORKS[name].patch(changes), 2).eval().to(device)
    x = torch.rand(1, 3, 10, 13, device=device)
    with torch.inference_mode():
        with only("plain"):
            expected = model(x)
        found = model.to(dtype)(x.to(dtype))
    assert found.dtype == dtype
    assert (found.float() - expected).square().mean() < 10**-4.5


@pytest.mark.parametrize(
    ("name", "kernels"),
    [
        ("swinir_light", {"_norm", "_norm_gradient", "_attend"}),
        ("hit_sir", {"_norm", "_norm_gradient", "_qv_gradient", "_factors_gradient"}),
    ],
)
def test_gradients_are_the_papers(
    name: str, kernels: set[str], launched: list[str], device: torch.device
):
    paper, fused = _both(name, device)
    x = torch.rand(2, 3, 7, 6, device=device)
    for model in (paper.double(), fused):
        for block in model.groups[0].blocks:
            block.drop_rate = 0.0  # no chance: both see the same blocks
        given = x.to(next(model.parameters()).dtype)
        model.train()(given).square().mean().backward()
    assert kernels <= {*launched}
    for (key, a), b in zip(paper.named_parameters(), fused.parameters(), strict=True):
        largest = a.grad.abs().max().clamp(min=1e-6)
        assert (b.grad - a.grad).abs().max() < 1e-4 * largest, key


def test_hooks_inside_blocks_are_called(launched: list[str], device: torch.device):
    paper, fused = (model.eval() for model in _both("swinir_light", device))
    seen: list[torch.Size] = []
    fused.groups[0].blocks[1].ffn.register_forward_hook(lambda _, __, out: seen.append(out.shape))
    x = torch.rand(1, 3, 8, 8, device=device)
    with torch.inference_mode():
        assert (fused(x) - paper(x)).abs().max() < 1e-4
    assert seen == [(1, 8, 8, 60)]
    assert launched.count("_mlp") == 1


def test_gradients_of_pictures_in_eval_mode_go_through_kernels_too(
    launched: list[str], device: torch.device
):
    paper, fused = (model.eval() for model in _both("swinir_light", device))
    grads = []
    for model in (paper, fused):
        x = torch.linspace(0, 1, 3 * 64, device=device).view(1, 3, 8, 8).requires_grad_()
        (grad,) = torch.autograd.grad(model(x).square().mean(), x)
        grads.append(grad)
    assert "_mlp" in launched
    assert (grads[0] - grads[1]).abs().max() < 1e-4 * grads[0].abs().max()
