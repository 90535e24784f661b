"""The model card (README.md) of exported weights: network, usage, training and scores.

It states only what records say; anything else is "Not recorded." or "Not measured.".
"""

import html
import json
import re
from collections.abc import Iterator, Sequence
from typing import Literal

import yaml

from hitsr.records import QualityRecord, Session, TrainingRecord
from hitsr.specs.network import ScaledNetwork
from hitsr.specs.published import published_form
from hitsr.specs.recipe import Recipe

ExportFormat = Literal["safetensors", "basicsr", "onnx", "torch"]

_USAGE = {
    "safetensors": """\
import hitsr

model = hitsr.from_pretrained({folder})  # (b, 3, h, w) in [0, 1] -> x{scale}
large = hitsr.upscale(model, picture)  # (h, w, 3) uint8; in tiles if memory is short""",
    "onnx": """\
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
(hr,) = session.run(None, {{"lr": lr}})  # (b, 3, h, w) float32 in [0, 1], x{scale}""",
    "torch": """\
import torch

model = torch.export.load("model.pt2").module()  # (b, 3, h, w) in [0, 1] -> x{scale}""",
}


# Fields of a recipe that the card has a sentence for, or that change no weights.
_SAID = frozenset(
    {
        *("steps", "batch", "patch", "learning_rate", "milestones", "decay", "precision"),
        *("log_every", "validate_every", "validated"),
    }
)
_FIELDS = {
    "betas": "betas {0[0]:g} and {0[1]:g}",
    "warm_up": "rising over the first {:,} steps",
    "cosine_to": "falling to {:g} of it along half a cosine",
    "upsampler_only": "only the upsampler in the first {:,} steps",
    "ema": "exponential moving average of weights (EMA), decay {:g}",
    "clip": "gradients clipped at norm {:g}",
    "parts": "each batch in {} parts",
    "deterministic": "kernels that may not repeat every bit",
}


def model_card(
    subject: ScaledNetwork,
    params: int,
    export_format: ExportFormat,
    folder: str,
    training: TrainingRecord | None = None,
    quality: Sequence[QualityRecord] = (),
) -> str:
    """The card as Markdown, with the metadata that the Hugging Face hub reads.

    `folder` is the name of the exported folder, shown in the usage example.
    """
    network, scale = subject.network, subject.scale
    usage = _USAGE.get(export_format, "")
    parts = [
        "---\nlibrary_name: hitsr\npipeline_tag: image-to-image\n"
        f"tags:\n- super-resolution\n- {network.name}\n---",
        f"# {network.name}, x{scale}",
        f"Upscales RGB pictures {scale} times; {params:,} parameters.",
        _use_in_basicsr(subject, folder, training)
        if export_format == "basicsr"
        else f"```python\n{usage.format(folder=json.dumps(folder), scale=scale)}\n```",
        "## Training",
        _training(training) if training else "Not recorded.",
        "## Metrics",
        _metrics(quality) if quality else "Not measured.",
        "## Network",
        f"```json\n{network.to_json()}```",
    ]
    return "\n\n".join(parts) + "\n"


def _use_in_basicsr(subject: ScaledNetwork, folder: str, training: TrainingRecord | None) -> str:
    """Part of an option file of BasicSR; for SwinIR-NG, whose code is none of it, Python."""
    made_by, arguments = published_form(subject)
    code = f"https://github.com/{made_by.repository}"
    if not made_by.in_basicsr:
        given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        return (
            f"In [the published code]({code}), whose files hold the weights plainly:\n\n"
            f"```python\nimport torch\nfrom {made_by.module} import {made_by.name}\n\n"
            f"model = {made_by.name}({given})\n"
            'model.load_state_dict(torch.load("model.pth"), strict=True)\n```'
        )
    path = {"pretrain_network_g": f"{folder}/model.pth", "param_key_g": "params"}
    options = {
        "network_g": {"type": made_by.name, **arguments},
        "path": {**path, "strict_load_g": True},
    }
    text = yaml.safe_dump(options, sort_keys=False, default_flow_style=None)
    is_average = training is not None and training.is_average
    both = "\n\n`params` and `params_ema` are both the average of the training's weights."
    return (
        f"In an option file of BasicSR, with [its class {made_by.name}]({code}):\n\n"
        f"```yaml\n{text}```{both if is_average else ''}"
    )


def _training(record: TrainingRecord) -> str:
    recipe, made = record.run.recipe, record.provenance
    commit = f"{made.commit or 'unknown'}{' with changes' if made.dirty else ''}"
    start = record.run.start_from
    how = ", ".join(["L1", "Adam", f"learning rate {recipe.learning_rate:g}", *_extras(recipe)])
    facts = {
        "run": f"{record.run.name} ({record.run.hash})",
        "data": f"{record.run.data}, {record.pictures} pictures",
        "recipe": f"{recipe.steps:,} steps of {recipe.batch} patches, {recipe.patch} px a side; "
        f"{how}; products in {recipe.precision}",
        "started from": start.name if start else "fresh weights",
        "seed": str(record.run.seed),
        "code": f"hitsr {made.versions.get('hitsr', 'unknown')}, commit {commit}",
        "device": _sessions(record.sessions) or made.device_name,
        **({"skipped steps": f"{len(record.skipped)}, not finite"} if record.skipped else {}),
        "weights": f"sha256 {record.weights_sha256}",
    }
    return _table(("", ""), list(facts.items()))


def _extras(recipe: Recipe) -> Iterator[str]:
    """What changes weights and is not by default, in the recipe's order."""
    if recipe.milestones:
        steps = ", ".join(f"{step:,}" for step in recipe.milestones)
        yield f"times {recipe.decay:g} after steps {steps}"
    for name, field in Recipe.model_fields.items():
        value = getattr(recipe, name)
        if name not in _SAID and value != field.default:
            yield _FIELDS.get(name, f"{name.replace('_', ' ')} {{}}").format(value)


def _sessions(sessions: Sequence[Session]) -> str:
    """ "4 × NVIDIA H100"; of several sessions: "steps 1 to 900 on …, 901 to 2,000 on …"."""
    if len(sessions) == 1:
        return sessions[0].place
    parts = (f"{s.first_step:,} to {s.last_step:,} on {s.place}" for s in sessions)
    return f"{len(sessions)} sessions: steps {', '.join(parts)}" if sessions else ""


def _metrics(records: Sequence[QualityRecord]) -> str:
    """A table with a row per set; the mean PSNR is infinite if that of any picture is."""
    rows = []
    for record in records:
        psnr = [picture.psnr_db for picture in record.pictures]
        finite = [value for value in psnr if value is not None]
        ssim = [picture.ssim for picture in record.pictures]
        mean = f"{sum(finite) / len(finite):.3f}" if len(finite) == len(psnr) else "infinite"
        rows.append((record.dataset, str(len(psnr)), mean, f"{sum(ssim) / len(ssim):.4f}"))
    signatures = sorted({_plain(s) for r in records for s in r.signatures.values()})
    table = _table(("set", "pictures", "PSNR (dB)", "SSIM"), rows)
    return table + "\n\nMeasured as " + "; ".join(signatures) + "."


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_plain, line))} |" for line in lines)


def _plain(text: str) -> str:
    """Text that Markdown and HTML leave as it is: names of sets and devices may have any letter."""
    in_html = html.escape(" ".join(text.splitlines()), quote=False)
    return re.sub(r"([\\`*\[\]|])", r"\\\1", in_html)
