"""Write a network with its weights, config and model card into a folder."""

from collections.abc import Sequence
from pathlib import Path

from hitsr.base.files import write_text
from hitsr.cli.doing.building import load
from hitsr.cli.options import say
from hitsr.models.backbone import SuperResolver
from hitsr.records import QualityRecord, TrainingRecord
from hitsr.share.export import CHECKED_SIZES, export_onnx, export_program
from hitsr.share.model_card import ExportFormat, model_card
from hitsr.share.pretrained import save_config, save_pretrained
from hitsr.share.published import save_published
from hitsr.specs.network import ScaledNetwork


def export(
    subject: ScaledNetwork,
    weights: Path,
    out: Path,
    form: ExportFormat,
    training: TrainingRecord | None,
    scores: Sequence[QualityRecord],
) -> None:
    """Write the model in one format, config.json, and README.md with training and scores."""
    model = load(subject, weights)
    is_average = training is not None and training.is_average
    _write(model, out, form, is_average)
    params = sum(parameter.numel() for parameter in model.parameters())
    write_text(out / "README.md", model_card(subject, params, form, out.name, training, scores))


def _write(model: SuperResolver, out: Path, form: ExportFormat, is_average: bool) -> None:
    if form == "safetensors":
        return save_pretrained(model, out)
    if form == "basicsr":
        save_published(model, out / "model.pth", is_average)
        return save_config(model, out)
    say("tracing, which takes a minute or several ...")
    if form == "onnx":
        worst = export_onnx(model, out / "model.onnx")
    else:
        worst = export_program(model, out / "model.pt2")
    save_config(model, out)
    say(f"differs from PyTorch by {worst:.1e} at most, at {len(CHECKED_SIZES)} sizes")
