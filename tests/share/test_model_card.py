import json
from typing import Any

import pytest
import yaml

from hitsr.records import PictureScore, Provenance, QualityRecord, Session, TrainingRecord
from hitsr.share.model_card import model_card
from hitsr.specs.network import ScaledNetwork
from hitsr.specs.recipe import Recipe
from hitsr.specs.run import RunSpec
from hitsr.specs.zoo import NETWORKS

SUBJECT = ScaledNetwork(network=NETWORKS["hit_sir"], scale=2)
MADE = Provenance(
    commit="abc", dirty=False, versions={"hitsr": "0.1.0"}, device="cpu", device_name="some CPU",
    threads=1, command="hitsr train", seconds=1.0,
)  # fmt: skip


def _quality(*psnr_db: float | None) -> QualityRecord:
    return QualityRecord(
        subject="hit_sir-x2", job_hash="0", provenance=MADE, method="hit_sir", dataset="Set5",
        scale=2, border=2, signatures={"psnr": "psnr|y", "ssim": "ssim|y"},
        pictures=tuple(
            PictureScore(name=str(i), psnr_db=value, ssim=0.5 if value else 1)
            for i, value in enumerate(psnr_db)
        ),
    )  # fmt: skip


def test_the_card_names_the_network_and_shows_its_use():
    card = model_card(SUBJECT, 772_064, "safetensors", "weights")
    front = yaml.safe_load(card.split("---")[1])
    assert front["library_name"] == "hitsr"
    assert "hit_sir" in front["tags"]
    assert 'hitsr.from_pretrained("weights")' in card
    assert "772,064 parameters" in card
    spec = json.loads(card.split("```json\n")[1].split("```")[0])
    assert spec == SUBJECT.network.model_dump(mode="json")


def test_the_card_has_an_option_file_for_basicsr():
    card = model_card(SUBJECT, 772_064, "basicsr", "weights")
    options = yaml.safe_load(card.split("```yaml\n")[1].split("```")[0])
    assert options["network_g"]["type"] == "HiT_SIR"
    assert options["network_g"]["hier_win_ratios"] == [0.5, 1, 2, 4, 6, 8]
    assert options["path"]["pretrain_network_g"] == "weights/model.pth"
    assert options["path"]["strict_load_g"]


def test_the_card_of_a_network_outside_basicsr_has_its_class():
    subject = ScaledNetwork(network=NETWORKS["swinir_ng"], scale=3)
    card = model_card(subject, 1, "basicsr", "weights")
    assert "from my_model.swinirng import SwinIRNG" in card
    assert "SwinIRNG(upscale=3, in_chans=3, img_size=64," in card


@pytest.mark.parametrize("ema", [None, 0.999])
def test_the_card_says_that_exported_weights_are_an_average(ema: float | None):
    card = model_card(SUBJECT, 1, "basicsr", "weights", trained({"ema": ema}))
    assert ("`params` and `params_ema` are both the average" in card) == (ema is not None)


def test_missing_records_are_mentioned():
    card = model_card(SUBJECT, 1, "onnx", "weights")
    assert "## Training\n\nNot recorded." in card
    assert "## Metrics\n\nNot measured." in card


def trained(recipe: dict[str, Any] | None = None, **fields: Any) -> TrainingRecord:
    usual = {"steps": 500_000, "batch": 64, "patch": 64, "learning_rate": 5e-4}
    run = RunSpec(
        network=SUBJECT.network, scale=2, data="DIV2K", validation="Set5", seed=7,
        recipe=Recipe.model_validate(usual | (recipe or {})),
    )  # fmt: skip
    return TrainingRecord(
        subject=run.name, job_hash=run.hash, provenance=MADE, run=run, params=1, pictures=800,
        final_loss=0.01, final_validation_psnr_db=None, weights_sha256="cafe", **fields,
    )  # fmt: skip


def test_the_card_describes_the_training():
    card = model_card(SUBJECT, 1, "torch", "weights", trained())
    for fact in ("DIV2K, 800 pictures", "500,000 steps of 64", "| seed | 7 |", "sha256 cafe"):
        assert fact in card
    assert "Adam, learning rate 0.0005; products in float32" in card
    assert "| device | some CPU |" in card
    assert "skipped" not in card


def test_the_card_names_what_is_not_usual_of_a_recipe():
    recipe = {
        "milestones": (250_000, 400_000), "warm_up": 20_000, "ema": 0.999, "clip": 0.5,
        "parts": 4, "betas": (0.9, 0.999), "upsampler_only": 50_000, "deterministic": False,
    }  # fmt: skip
    (line,) = (
        line
        for line in model_card(SUBJECT, 1, "torch", "w", trained(recipe)).splitlines()
        if line.startswith("| recipe")
    )
    for fact in (
        "times 0.5 after steps 250,000, 400,000",
        "rising over the first 20,000 steps",
        "(EMA), decay 0.999",
        "clipped at norm 0.5",
        "each batch in 4 parts",
        "betas 0.9 and 0.999",
        "only the upsampler in the first 50,000 steps",
        "may not repeat every bit",
    ):
        assert fact in line
    cosine = model_card(SUBJECT, 1, "torch", "w", trained({"cosine_to": 0.01}))
    assert "falling to 0.01 of it along half a cosine" in cosine


def test_the_card_says_where_each_session_ran_and_what_was_skipped():
    first = Session(first_step=1, last_step=900, seconds=1, device_name="A GPU", devices=4)
    second = Session(first_step=901, last_step=2000, seconds=1, device_name="B GPU")
    card = model_card(SUBJECT, 1, "torch", "w", trained(sessions=(first, second), skipped=(3,)))
    assert "2 sessions: steps 1 to 900 on 4\u00a0× A GPU, 901 to 2,000 on B GPU" in card
    assert "| skipped steps | 1, not finite |" in card
    assert "| device | B GPU |" in model_card(SUBJECT, 1, "torch", "w", trained(sessions=(second,)))


def test_the_card_has_mean_scores_and_their_signatures():
    card = model_card(SUBJECT, 1, "onnx", "weights", quality=[_quality(30.0, 32.0)])
    assert "| Set5 | 2 | 31.000 | 0.5000 |" in card
    assert "psnr\\|y; ssim\\|y" in card
    assert "| infinite |" in model_card(SUBJECT, 1, "onnx", "w", quality=[_quality(30.0, None)])
