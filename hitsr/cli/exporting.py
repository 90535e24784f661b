"""The verb that hands trained networks to others: export."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hitsr.base.errors import SpecError
from hitsr.base.files import sha256, write_text
from hitsr.cli.options import ScaleOption, say, scaled
from hitsr.cli.upscaling import NetworkOption, WeightsOption, check_weights, loaded_model
from hitsr.records import QualityRecord, TrainingRecord
from hitsr.share.model_card import ExportFormat, model_card
from hitsr.specs.network import ScaledNetwork

if TYPE_CHECKING:
    from hitsr.models.backbone import SuperResolver


def export(
    network: NetworkOption,
    scale: ScaleOption,
    weights: WeightsOption,
    out: Annotated[Path, typer.Option(help="folder for the model, its config.json and README.md")],
    form: Annotated[
        ExportFormat, typer.Option("--format", help="torch is a torch.export program, .pt2")
    ] = "safetensors",
    training: Annotated[
        Path | None, typer.Option(help="the training record; record.json beside the weights")
    ] = None,
    metrics: Annotated[
        list[Path] | None, typer.Option(help="quality records for the card; repeat for more")
    ] = None,
) -> None:
    """Write a network with its weights, to push to the Hugging Face hub or to run elsewhere.

    ONNX and torch programs take any size, and are compared with PyTorch on three.
    """
    subject = scaled(network, scale)
    check_weights(weights)
    record, scores = _training(training, weights), _metrics(metrics or [], subject)
    if form == "onnx":
        _need_onnx()
    model = loaded_model(subject, weights)
    _write(model, out, form)
    params = sum(parameter.numel() for parameter in model.parameters())
    card = model_card(subject, params, form, out.name, record, scores)
    write_text(out / "README.md", card)
    print(out)


def _write(model: "SuperResolver", out: Path, form: ExportFormat) -> None:
    from hitsr.share.export import CHECKED_SIZES, export_onnx, export_program
    from hitsr.share.pretrained import save_config, save_pretrained

    if form == "safetensors":
        return save_pretrained(model, out)
    say("tracing, which takes a minute or several ...")
    if form == "onnx":
        worst = export_onnx(model, out / "model.onnx")
    else:
        worst = export_program(model, out / "model.pt2")
    save_config(model, out)
    say(f"differs from PyTorch by {worst:.1e} at most, on {len(CHECKED_SIZES)} sizes")


def _training(path: Path | None, weights: Path) -> TrainingRecord | None:
    """The record given, or the one beside the weights; it must be of these weights."""
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
            raise SpecError(f"{path}: scores of {record.method} x{record.scale}; drop it")
    return records


def _need_onnx() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
    if missing:
        raise SpecError(f"ONNX needs {', '.join(missing)}; run `pip install 'hitsr[export]'`")
