"""Export networks as `torch.export` programs and ONNX files, which take pictures of any size.

The network is exported in eval mode. Correlation networks are exported in the fused formulation,
attention networks in the paper formulation: fused attention treats windows at the edges separately,
in branches that depend on the picture's size, and a trace records one branch only. Each export is
read back and compared with PyTorch before it is written.
"""

import copy
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from hitsr.base.errors import HitsrError
from hitsr.base.files import write_bytes
from hitsr.models.backbone import SuperResolver, create
from hitsr.specs.network import Formulation

# (height, width) of LR pictures: whole windows of 8 and 16; odd sides; less than a large window.
CHECKED_SIZES = ((64, 48), (37, 51), (9, 20))
TOLERANCE = 1e-4  # for outputs in [0, 1]; half an 8-bit step is 2e-3


def export_program(model: SuperResolver, path: Path) -> float:
    """Write a `torch.export` program (.pt2); returns its largest difference from PyTorch.

    The program takes (b, 3, h, w) with any b, and h, w from `smallest_side`. Raises HitsrError if
    its output differs from PyTorch's by more than 1e-4.
    """
    buffer = BytesIO()
    torch.export.save(trace(model), buffer)
    loaded = torch.export.load(BytesIO(buffer.getvalue())).module()
    difference = _largest_difference(model, loaded, path)
    write_bytes(path, buffer.getvalue())
    return difference


def export_onnx(model: SuperResolver, path: Path) -> float:
    """Write an ONNX file with input `lr` and output `hr`; returns its difference from PyTorch.

    It takes (b, 3, h, w) with any b, h, w >= 1. Needs onnx, onnxscript and onnxruntime. Raises
    HitsrError if its output differs from PyTorch's by more than 1e-4.
    """
    with _quiet_onnxscript():
        program = torch.onnx.export(
            trace(model), dynamo=True, verbose=False, input_names=["lr"], output_names=["hr"]
        )
    assert program is not None
    content = program.model_proto.SerializeToString()
    difference = _largest_difference(model, _onnx_runner(content), path)
    write_bytes(path, content)
    return difference


def smallest_side(model: SuperResolver) -> int:
    """The smallest height and width that a `torch.export` program takes; 1 for most networks.

    Networks with n-gram contexts and padded pictures (SwinIR-NG) need two windows a side: torch's
    exporter treats the memory layout of a single row of windows as a special case. ONNX files have
    no such limit.
    """
    network = model.network
    return model.multiple + 1 if network.context and network.padding == "picture" else 1


def trace(model: SuperResolver) -> ExportedProgram:
    """Trace the network into a graph of operators on (b, 3, h, w) for variable b, h and w."""
    side = smallest_side(model)
    sizes = {0: Dim("b", min=1), 2: Dim("h", min=side), 3: Dim("w", min=side)}
    # The example has several windows a side and partial ones at the edges: the general case.
    # From one or from whole windows the exporter would infer conditions that others do not meet.
    largest = max(model.network.multiples)
    example = torch.zeros(3, 3, 2 * largest + 1, 3 * largest + 1)
    with torch.no_grad():
        program = torch.export.export(
            _export_copy(model),
            (example,),
            dynamic_shapes=(sizes,),
            strict=False,
            prefer_deferred_runtime_asserts_over_guards=True,
        )
    return _without_layout_asserts(program)


def _export_copy(model: SuperResolver) -> SuperResolver:
    """A copy in eval mode and in the formulation that can be exported."""
    formulation: Formulation = "fused" if model.network.mixer.kind == "correlation" else "paper"
    copied = create(model.network, model.scale, formulation=formulation)
    copied.load_state_dict(copy.deepcopy(model.state_dict()))
    return copied.eval().requires_grad_(False)


def _without_layout_asserts(program: ExportedProgram) -> ExportedProgram:
    """Remove assertions such as "more than one window a row", true of the example input only.

    The tracer adds them when it examines memory layouts; no operator depends on them.
    """
    for node in list(program.graph.nodes):
        if node.target is torch.ops.aten._assert_scalar.default:
            program.graph.erase_node(node)
    program.graph.eliminate_dead_code()
    program.graph_module.recompile()
    return program


def _largest_difference(
    model: SuperResolver, exported: Callable[[Tensor], Tensor], path: Path
) -> float:
    """The largest difference over three sizes; HitsrError if it is above the tolerance."""
    original, largest, side = copy.deepcopy(model).cpu().eval(), 0.0, smallest_side(model)
    noise = np.random.default_rng(0)
    for height, width in ((max(h, side), max(w, side)) for h, w in CHECKED_SIZES):
        lr = torch.from_numpy(noise.random((1, 3, height, width), dtype=np.float32))
        with torch.inference_mode():
            expected = original(lr)
        with torch.no_grad():
            found = exported(lr)
        shapes = tuple(expected.shape), tuple(found.shape)
        difference = float("inf")
        if shapes[0] == shapes[1]:
            difference = float((found - expected).abs().max())
        if not difference <= TOLERANCE:
            raise HitsrError(
                f"{path}: at {width}x{height} the export's output {shapes[1]} is {difference:.1g} "
                f"off PyTorch's {shapes[0]}, so it is not written; "
                "please report this with the versions of torch and hitsr"
            )
        largest = max(largest, difference)
    return largest


def _onnx_runner(content: bytes) -> Callable[[Tensor], Tensor]:
    """The content of an ONNX file as a function from lr to hr, run by onnxruntime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda lr: torch.from_numpy(session.run(None, {"lr": lr.numpy()})[0])


@contextmanager
def _quiet_onnxscript() -> Iterator[None]:
    """Silence onnxscript's optimiser, which logs every operator that it does not change."""
    logger = logging.getLogger("onnxscript")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
