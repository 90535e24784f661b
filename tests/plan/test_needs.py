"""What a config needs and does not find, and where it is to be had."""

from pathlib import Path

import pytest

from hitsr.plan.needs import available_device, missing_data, missing_weights
from hitsr.specs.config import load_config

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "reports" / "published" / "sources.csv"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("elsewhere")
def test_missing_sets_are_told_with_their_sources() -> None:
    told = missing_data(load_config(ROOT / "configs" / "paper.yaml"), SOURCES) or ""
    assert told.startswith("6 of 6 sets of pictures are missing:")
    assert "DIV2K_train_HR.zip" in told
    assert "www.manga109.org" in told


def test_sets_asked_for_are_the_ones_looked_at(elsewhere: Path) -> None:
    config = load_config(ROOT / "configs" / "paper.yaml")
    (elsewhere / "data/Set5/HR").mkdir(parents=True)
    assert missing_data(config, SOURCES, ["Set5"]) is None
    assert "data/DF2K/HR" in (missing_data(config, SOURCES, ["Set5", "DF2K"]) or "")


@pytest.mark.parametrize(
    "made",
    [
        ["DIV2K_train_HR/0001.png"],
        ["DIV2K_train_HR/0001.png", "DIV2K_valid_HR/0801.png"],  # `hitsr prepare` tells of two
        ["GTmod12/a.png"],
        ["image_SRF_4/img_001_SRF_4_HR.png"],
    ],
)
def test_sets_in_other_layouts_are_not_missing(elsewhere: Path, made: list[str]) -> None:
    config = load_config(ROOT / "configs" / "paper.yaml")
    assert missing_data(config, SOURCES, ["DIV2K"])
    for name in made:
        (elsewhere / "data/DIV2K" / name).parent.mkdir(parents=True)
        (elsewhere / "data/DIV2K" / name).touch()
    assert missing_data(config, SOURCES, ["DIV2K"]) is None


def test_packaged_photographs_are_never_missing() -> None:
    assert missing_data(load_config(ROOT / "configs" / "demo.yaml"), SOURCES) is None


def test_sets_that_are_no_packaged_photographs_are_told() -> None:
    told = missing_data(load_config(ROOT / "configs" / "demo.yaml"), SOURCES, ["test", "DF2K"])
    assert told is not None
    assert told.startswith("DF2K: not among the packaged photographs:\nName train or test in")


@pytest.mark.usefixtures("elsewhere")
def test_sets_of_attribution_maps_are_looked_at_too() -> None:
    config = load_config(ROOT / "configs" / "lite.yaml")
    assert config.lam is not None
    lam = config.lam.model_copy(update={"sets": ("Urban100",)})
    told = missing_data(config.model_copy(update={"lam": lam}), SOURCES) or ""
    assert "data/Urban100/HR" in told


def test_missing_weights_are_told_with_what_fetches_them(elsewhere: Path) -> None:
    config = load_config(ROOT / "configs" / "official.yaml")
    (elsewhere / "weights/official").mkdir(parents=True)
    (elsewhere / "weights/official/hit_sir_x2.pth").touch()
    told = missing_weights(config, SOURCES) or ""
    assert told.startswith("17 of 18 released weights are missing in weights/official:")
    assert "hit_sir x3, x4: https://huggingface.co/" in told
    assert "hitsr fetch-weights --out weights/official" in told


def test_a_config_that_trains_needs_no_released_weights() -> None:
    assert missing_weights(load_config(ROOT / "configs" / "demo.yaml"), SOURCES) is None


def test_asked_device_is_taken_at_its_word() -> None:
    assert available_device("mps") == "mps"
    assert available_device("auto") in ("cpu", "cuda")
