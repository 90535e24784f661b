"""All six networks on a GPU, against the paper formulation on the CPU."""

import copy
from collections.abc import Callable
from typing import get_args

import pytest
import torch

import hitsr
from hitsr.runtime.precision import computing, dtype_of
from hitsr.specs.network import Formulation
from hitsr.specs.steps import Precision

SIZES = [(64, 64), (37, 21), (1, 3), (130, 96)]  # the training patch; odd; tiny; several windows


@pytest.mark.parametrize("formulation", get_args(Formulation))
@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_output_is_that_of_the_published_code(
    name: str, formulation: Formulation, golden: Callable, network: Callable, gpu: torch.device
):
    expected = golden(name)
    with torch.inference_mode():
        output = network(name, formulation=formulation)(expected.input.to(gpu)).cpu()
    down, right = expected.stride
    assert (output[:, :, ::down, ::right] - expected.output).abs().max() < 2e-5


@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_sizes_and_batches_are_as_on_the_cpu(
    name: str, network: Callable, picture: Callable, gpu: torch.device
):
    paper = network(name, formulation="paper").cpu()
    here = {each: network(name, formulation=each) for each in get_args(Formulation)}
    for height, width in SIZES:
        lr = picture(height, width, batch=2)
        with torch.inference_mode():
            expected = paper(lr)  # takes seconds
            for formulation, model in here.items():
                difference = (model(lr.to(gpu)).cpu() - expected).abs().max()
                assert difference < 1e-5, (formulation, height, width)


@pytest.mark.parametrize("formulation", ["paper", "fused"])
@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_lower_precision_stays_near(
    name: str, formulation: Formulation, network: Callable, picture: Callable, gpu: torch.device
):
    # Rounding these random weights to 8 bits alone costs as much; trained ones keep 10 dB more.
    least_db: dict[Precision, int] = {"tf32": 45, "float16": 45, "bfloat16": 40, "autocast": 40}
    if torch.cuda.get_device_capability(gpu) < (8, 0):
        del least_db["tf32"]  # this GPU is older
    model, lr = network(name, formulation=formulation), picture(130, 96).to(gpu)
    with torch.inference_mode():
        exact = model(lr).double()
    psnr_db = {}
    for precision in least_db:
        dtype, rounded = dtype_of(precision), copy.deepcopy(model)
        with torch.inference_mode(), computing(precision, gpu):
            error = rounded.to(dtype)(lr.to(dtype)).double() - exact
        psnr_db[precision] = float(-10 * error.square().mean().log10())
    # Infinite and undefined values have no such PSNR.
    assert all(psnr_db[each] > least_db[each] for each in least_db), psnr_db


@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_gradients_are_those_of_the_paper_formulation(
    name: str, network: Callable, picture: Callable, gpu: torch.device
):
    found = []
    for formulation in ("paper", "fused"):
        model = network(name, formulation=formulation).train()
        lr = picture(24, 40, batch=2).to(gpu).requires_grad_()
        for module in model.modules():
            if hasattr(module, "drop_rate"):
                module.drop_rate = 0.0  # no chance: both see the same blocks
        model(lr).square().mean().backward()
        found.append({"lr": lr.grad, **{n: p.grad for n, p in model.named_parameters()}})
    for key, expected in found[0].items():
        largest = expected.abs().max().clamp(min=1e-6)
        assert ((found[1][key] - expected).abs().max() / largest) < 1e-3, key


@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_changed_weights_and_devices_are_noticed(
    name: str, network: Callable, picture: Callable, gpu: torch.device
):
    model, lr = network(name), picture(40, 24)
    with torch.inference_mode():
        model(lr.to(gpu))  # fills the caches
        for parameter in model.parameters():
            parameter.mul_(1.01)
        changed = model(lr.to(gpu)).cpu()
        half = model.half()(lr.to(gpu).half()).float().cpu()
        there = model.float().cpu()(lr)
        back = model.to(gpu)(lr.to(gpu)).cpu()
    # Weights were rounded to float16 on the way, as far as 0.1 % of each.
    assert (changed - there).abs().max() < 2e-2
    assert (half - there).abs().max() < 2e-2
    assert (back - there).abs().max() < 1e-5
    paper = hitsr.create(name, 2, formulation="paper").eval()
    paper.load_state_dict(model.cpu().state_dict())
    with torch.inference_mode():
        assert (paper(lr) - back).abs().max() < 1e-5
