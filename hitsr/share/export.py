"""Export networks as programs that serve every size: `torch.export`, and ONNX made from it.

What is exported is the network in eval mode, in the formulation whose every step is a function of
sizes: fused for correlation, as on paper for attention (the fused one looks up which windows lie
at the edge). Each file is read back and compared with PyTorch before it is kept.
"""

import copy
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from hitsr.base.errors import HitsrError
from hitsr.base.files import replacing
from hitsr.models.backbone import SuperResolver, create
from hitsr.specs.network import Formulation

# Height and width of LR pictures: whole windows of 8 and 16, odd sides, less than a large window.
CHECKED_SIZES = ((64, 48), (37, 51), (9, 20))
TOLERANCE = 1e-4  # of outputs in [0, 1]; half an 8-bit step is 2e-3


def export_program(model: SuperResolver, path: Path) -> float:
    """Write a `torch.export` program (.pt2); returns the largest difference to PyTorch found.

    Input (b, 3, h, w) with any b, h, w that `smallest_side` allows. HitsrError if the program
    read back differs by more than 1e-4.
    """
    with replacing(path) as temporary:
        torch.export.save(trace(model), temporary)
        loaded = torch.export.load(temporary).module()
        return _checked(model, loaded, path)


def export_onnx(model: SuperResolver, path: Path) -> float:
    """Write an ONNX file, input `lr` and output `hr`; returns the largest difference found.

    Input (b, 3, h, w) with any b, h, w >= 1. Needs onnx, onnxscript and onnxruntime; HitsrError if
    its outputs differ from PyTorch's by more than 1e-4.
    """
    with replacing(path) as temporary:
        with _without_chatter():
            program = torch.onnx.export(
                trace(model), dynamo=True, verbose=False, input_names=["lr"], output_names=["hr"]
            )
        assert program is not None
        program.save(temporary, external_data=False)
        return _checked(model, _onnx_runner(temporary), path)


def smallest_side(model: SuperResolver) -> int:
    """The smallest height and width that an exported program takes; 1 for most networks.

    With contexts over padded pictures (SwinIR-NG) torch's exporter takes a single row of windows
    for another memory layout, and asks for two. ONNX files have no such limit.
    """
    network = model.network
    return model.multiple + 1 if network.context and network.padding == "picture" else 1


def trace(model: SuperResolver) -> ExportedProgram:
    """The network as a graph of operators on (b, 3, h, w), with b, h and w left open."""
    side = smallest_side(model)
    sizes = {0: Dim("b", min=1), 2: Dim("h", min=side), 3: Dim("w", min=side)}
    # Of several windows a side, none of them whole: what holds for one or whole ones is special.
    largest = max(model.network.multiples)
    example = torch.zeros(3, 3, 2 * largest + 1, 3 * largest + 1)
    with torch.no_grad():
        program = torch.export.export(
            _exportable(model),
            (example,),
            dynamic_shapes=(sizes,),
            strict=False,
            prefer_deferred_runtime_asserts_over_guards=True,
        )
    return _without_layout_guesses(program)


def _exportable(model: SuperResolver) -> SuperResolver:
    formulation: Formulation = "fused" if model.network.mixer.kind == "correlation" else "paper"
    twin = create(model.network, model.scale, formulation=formulation)
    twin.load_state_dict(copy.deepcopy(model.state_dict()))
    return twin.eval().requires_grad_(False)


def _without_layout_guesses(program: ExportedProgram) -> ExportedProgram:
    """Drop asserted guesses such as "more than one window a row": they hold for the example only.

    The tracer makes them where it asks how memory is laid out, and no operator depends on them.
    """
    for node in list(program.graph.nodes):
        if node.target is torch.ops.aten._assert_scalar.default:
            program.graph.erase_node(node)
    program.graph.eliminate_dead_code()
    program.graph_module.recompile()
    return program


def _checked(model: SuperResolver, other: Callable[[Tensor], Tensor], path: Path) -> float:
    """The largest difference between a network and its export over three sizes."""
    twin, worst, side = copy.deepcopy(model).cpu().eval(), 0.0, smallest_side(model)
    noise = np.random.default_rng(0)
    for height, width in ((max(h, side), max(w, side)) for h, w in CHECKED_SIZES):
        lr = torch.from_numpy(noise.random((1, 3, height, width), dtype=np.float32))
        with torch.inference_mode():
            expected = twin(lr)
        with torch.no_grad():
            found = other(lr)
        shapes = tuple(expected.shape), tuple(found.shape)
        difference = float("inf")
        if shapes[0] == shapes[1]:
            difference = float((found - expected).abs().max())
        if not difference <= TOLERANCE:
            raise HitsrError(
                f"{path}: at {width}x{height} the export gives {shapes[1]} that is {difference:.1g}"
                f" off PyTorch's {shapes[0]}; nothing is written: report it with the versions used"
            )
        worst = max(worst, difference)
    return worst


def _onnx_runner(path: Path) -> Callable[[Tensor], Tensor]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda lr: torch.from_numpy(session.run(None, {"lr": lr.numpy()})[0])


@contextmanager
def _without_chatter() -> Iterator[None]:
    """The optimiser tells every operator that it leaves as it is."""
    logger = logging.getLogger("onnxscript")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
