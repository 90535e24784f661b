"""Exported programs equal the network at every size; small networks, one per formulation."""

from pathlib import Path

import pytest
import torch
from torch.export import ExportedProgram

import hitsr
from hitsr.base.errors import HitsrError
from hitsr.models.backbone import SuperResolver
from hitsr.share import export

SIZES = [(2, 3, 17, 16), (1, 3, 1, 1), (1, 3, 8, 23), (3, 3, 5, 2)]  # none of CHECKED_SIZES


def _model(name: str, **changes: object) -> SuperResolver:
    torch.manual_seed(0)
    small = {"depths": [1], "width": 12, "mixer.heads": 2, "windows.base": 4}
    network = hitsr.NETWORKS[name].patch({**small, **changes})
    return hitsr.create(network, 2).eval().requires_grad_(False)


def _hierarchical() -> SuperResolver:
    return _model("hit_srf", **{"windows.ratios": [2]})


def _shifted() -> SuperResolver:
    return _model("swinir_light", **{"depths": [2], "windows.ratios": [1, 1]})


@pytest.fixture(scope="module")
def traced() -> dict[str, tuple[SuperResolver, ExportedProgram]]:
    """Networks with their programs, traced once because tracing is slow."""
    models = {"hierarchical": _hierarchical(), "shifted": _shifted()}
    return {name: (model, export.trace(model)) for name, model in models.items()}


@pytest.mark.parametrize("name", ["hierarchical", "shifted"])
def test_a_program_equals_the_network_at_every_size(
    name: str, traced: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    model, graph = traced[name]
    monkeypatch.setattr(export, "trace", lambda _: graph)
    assert export.export_program(model, tmp_path / "model.pt2") <= export.TOLERANCE
    program = torch.export.load(tmp_path / "model.pt2").module()
    for size in SIZES:
        x = torch.rand(size)
        torch.testing.assert_close(program(x), model(x), rtol=0, atol=1e-5)


def test_an_onnx_file_equals_the_network_at_every_size(
    traced: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    (model, graph), path = traced["hierarchical"], tmp_path / "model.onnx"
    monkeypatch.setattr(export, "trace", lambda _: graph)
    assert export.export_onnx(model, path) <= export.TOLERANCE
    assert list(tmp_path.iterdir()) == [path]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for size in SIZES:
        x = torch.rand(size)
        (found,) = session.run(None, {"lr": x.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), model(x), rtol=0, atol=1e-5)


def test_a_program_that_differs_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model = _hierarchical()
    other = torch.export.export(torch.nn.Upsample(scale_factor=2), (torch.rand(1, 3, 4, 4),))
    monkeypatch.setattr(export, "trace", lambda _: other)
    monkeypatch.setattr(export, "CHECKED_SIZES", ((4, 4),))
    with pytest.raises(HitsrError, match="off PyTorch's"):
        export.export_program(model, tmp_path / "model.pt2")
    assert list(tmp_path.iterdir()) == []


def test_contexts_over_padded_pictures_need_two_windows():
    assert export.smallest_side(hitsr.create("swinir_ng", 2)) == 9
    assert export.smallest_side(hitsr.create("hit_sng", 2)) == 1
