"""The verb that writes trained networks for other programs: export."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from typer import Option

from hitsr.base.errors import SpecError
from hitsr.base.files import sha256
from hitsr.cli import options
from hitsr.cli.subject import weighted
from hitsr.records import QualityRecord, TrainingRecord
from hitsr.share.model_card import ExportFormat
from hitsr.specs.network import ScaledNetwork
from hitsr.specs.published import published_form


def export(
    network: options.NetworkOption,
    weights: options.Weights,
    out: Annotated[Path, Option(help="folder for the model, its config.json and README.md")],
    scale: options.MaybeScale = None,
    form: Annotated[
        ExportFormat,
        Option(
            "--format",
            help="basicsr: a .pth with the names of the published code, which loads it strictly; "
            "torch: a program of torch.export, .pt2",
        ),
    ] = "safetensors",
    training: Annotated[
        Path | None, Option(help="training record; default: record.json beside the weights")
    ] = None,
    metrics: Annotated[
        list[Path] | None, Option(help="quality records for the model card; repeatable")
    ] = None,
) -> None:
    """Write a network with its weights, for the Hugging Face hub or for other programs.

    ONNX models and torch programs accept pictures of any size; their outputs are compared with
    PyTorch's at three sizes. The default scale is that of the network's file, else that in the
    weights' metadata.
    """
    subject = weighted(network, scale, weights)
    record, scores = _training(training, weights), _metrics(metrics or [], subject)
    if form == "onnx":
        _need_onnx()
    if form == "basicsr":
        published_form(subject)  # before torch is loaded: the published code may have no such one
    from hitsr.cli.doing import exporting

    exporting.export(subject, weights, out, form, record, scores)
    print(out)


def _training(path: Path | None, weights: Path) -> TrainingRecord | None:
    """The training record of these weights: `path`, or one beside the weights, or None."""
    found = path or weights.parent / "record.json"
    if path is None and not found.is_file():
        return None
    record = TrainingRecord.load(found)
    if record.weights_sha256 != sha256(weights):
        raise SpecError(f"{found}: describes other weights than {weights}; name the right one")
    return record


def _metrics(paths: list[Path], subject: ScaledNetwork) -> list[QualityRecord]:
    records = [QualityRecord.load(path) for path in paths]
    for path, record in zip(paths, records, strict=True):
        if (record.method, record.scale) != (subject.network.name, subject.scale):
            raise SpecError(f"{path}: scores of {record.method} x{record.scale}; leave it out")
    return records


def _need_onnx() -> None:
    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
    if missing:
        raise SpecError(f"ONNX needs {', '.join(missing)}; run `pip install 'hitsr[export]'`")
