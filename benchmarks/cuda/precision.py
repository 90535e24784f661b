"""How far results and gradients are from the paper formulation."""

import torch
from torch import Tensor
from torch.nn import functional as F

import hitsr
from benchmarks.cuda.bench import SCALE, Bench, Measured, Result, network, photograph, table
from hitsr.models.backbone import SuperResolver
from hitsr.runtime.precision import computing, dtype_of
from hitsr.specs.network import Formulation
from hitsr.specs.steps import Precision

LOWER: tuple[Precision, ...] = ("tf32", "float16", "bfloat16", "autocast")
_SIDE = 40  # LR pixels of the pictures for gradients: no whole windows of 16


def precision(bench: Bench) -> Result:
    """Largest differences in float32, and PSNR of each lower precision to float32 of paper.

    Gradients are compared with those of the paper formulation in float64.
    """
    lr = photograph(96, 128).to(bench.device)
    lower = [each for each in LOWER if bench.device.type == "cuda" or each != "tf32"]
    rows, measured = [], Measured()
    for name in bench.networks:
        if (name, "float32") in bench.broken:
            continue
        exact = _output(bench, name, lr, "paper", "float32")
        released, fused = (
            float((_output(bench, name, lr, way, "float32") - exact).abs().max())
            for way in ("released", "fused")
        )
        of_paper, of_fused = _of_gradients(bench, name)
        measured[name, "difference"], measured[name, "gradients"] = fused, of_fused
        shown = [f"{value:.1e}" for value in (released, fused, of_paper, of_fused)]
        for each in lower:
            broken = (name, each) in bench.broken
            shown.append(
                "failed" if broken else _psnr(_output(bench, name, lr, "fused", each), exact)
            )
        rows.append([name + ("" if bench.weights_of(name) else ", random weights"), *shown])
    head = ["released", "fused", "gradients, paper", "gradients, fused", *lower]
    page = (
        "## Against the paper formulation in float32, LR 128x96\n\nLargest differences of float32; "
        "PSNR of lower precisions. Gradients: the largest difference from those in float64, as a "
        f"share of the largest one of the same parameter.\n\n{table(['', *head], rows)}"
    )
    return Result(page, rows, measured)


def _output(
    bench: Bench, name: str, lr: Tensor, formulation: Formulation, precision: Precision
) -> Tensor:
    dtype = dtype_of(precision)
    model = _model(bench, name, formulation).to(bench.device, dtype).eval()
    with torch.inference_mode(), computing(precision, bench.device):
        out: Tensor = model(lr.to(dtype)).double()
    return out


def _psnr(found: Tensor, exact: Tensor) -> str:
    if not found.isfinite().all():
        return "not finite"
    return f"{-10 * (found - exact).square().mean().log10():.1f} dB"


def _of_gradients(bench: Bench, name: str) -> tuple[float, float]:
    """The largest difference from float64, of the paper and of the fused formulation."""
    side = min(_SIDE, *bench.output)
    exact = _gradients(side, bench, name, "paper", torch.float64)
    off = []
    formulations: tuple[Formulation, ...] = ("paper", "fused")
    for formulation in formulations:
        found = _gradients(side, bench, name, formulation, torch.float32)
        shares = [
            float((a.double() - b).abs().max() / b.abs().max().clamp(min=1e-12))
            for a, b in zip(found, exact, strict=True)
        ]
        off.append(max(shares))
    return off[0], off[1]


def _gradients(
    side: int, bench: Bench, name: str, formulation: Formulation, dtype: torch.dtype
) -> list[Tensor]:
    """Of all parameters, without stochastic depth; fresh weights."""
    torch.manual_seed(0)
    spec = hitsr.NETWORKS[name]
    spec = spec.patch({"stochastic_depth": 0.0}) if spec.stochastic_depth else spec
    model = hitsr.create(spec, SCALE, formulation=formulation).to(bench.device, dtype).train()
    lr = photograph(side, side).to(bench.device, dtype)
    hr = photograph(side * SCALE, side * SCALE).to(bench.device, dtype)
    with computing("float32", bench.device):
        loss = F.l1_loss(model(lr), hr)
        return list(torch.autograd.grad(loss, list(model.parameters())))


def _model(bench: Bench, name: str, formulation: Formulation) -> SuperResolver:
    model = network(name, formulation)
    if file := bench.weights_of(name):
        hitsr.load_weights(model, file)
    return model
