"""What a config needs and does not find, and where it is to be had."""

import os
from collections.abc import Callable, Iterator
from importlib.util import spec_from_file_location
from pathlib import Path

import pytest
import torch

from hitsr.plan import needs
from hitsr.plan.needs import (
    available_device,
    available_gpus,
    left_to_this_machine,
    missing_data,
    missing_devices,
    missing_gpus,
    missing_weights,
)
from hitsr.plan.planning import Plan
from hitsr.runtime.devices import pick_device
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
    fetching = "--dataset div2k --dataset benchmark --scale 2 --scale 3 --scale 4 --out data"
    sets = "DIV2K, Set5, Set14, B100, Urban100"
    assert f"`hitsr prepare {fetching}` fetches {sets}.\nOr put" in told


@pytest.mark.usefixtures("elsewhere")
def test_sets_that_nobody_may_hand_out_are_not_said_to_be_fetched() -> None:
    config = load_config(ROOT / "configs" / "paper.yaml")
    told = missing_data(config, SOURCES, ["Manga109", "mine"]) or ""
    assert "hitsr prepare" not in told


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


@pytest.mark.parametrize("device", ["cpu", "mps", "cuda", "cuda:1"])
def test_asked_device_is_taken_at_its_word(device: str) -> None:
    assert available_device(device) == device


@pytest.fixture
def torch_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str, bool], None]]:
    """A torch in the place of the installed one: built with these lines, with or without a GPU."""

    def put(built: str, has_gpu: bool) -> None:
        folder = tmp_path / "torch"
        folder.mkdir()
        (folder / "version.py").write_text(built)
        (folder / "__init__.py").write_text(
            "class device(str):\n"
            "    def __new__(cls, kind, number=0): return super().__new__(cls, kind)\n"
            "    type = property(str)\n"
            "class cuda:\n"
            f"    is_available = lambda: {has_gpu}\n"
            "    current_device = lambda: 0\n"
            f"    device_count = lambda: {4 * has_gpu}\n"
        )
        found = spec_from_file_location("torch", folder / "__init__.py")
        monkeypatch.setattr(needs, "find_spec", {"torch": found}.__getitem__)
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")

    needs._auto.cache_clear()
    yield put
    needs._auto.cache_clear()


@pytest.mark.parametrize("has_gpu", [True, False])
def test_auto_is_what_torch_says_where_no_nvidia_driver_is(
    has_gpu: bool, torch_of: Callable[[str, bool], None]
) -> None:
    torch_of("cuda: Optional[str] = None\nhip: Optional[str] = '6.4.1'\n", has_gpu)
    assert available_device("auto") == ("cuda" if has_gpu else "cpu")
    assert available_gpus() == 4 * has_gpu


def test_trainings_that_ask_for_more_gpus_than_there_are_are_told(
    torch_of: Callable[[str, bool], None], planned: Callable[..., Plan]
) -> None:
    torch_of("cuda: Optional[str] = None\nhip: Optional[str] = '6.4.1'\n", True)
    recipe = {"steps": 2, "batch": 8, "parts": 8, "patch": 8, "learning_rate": 1e-3}
    changes = {"train.device": "cuda", "train.recipe": recipe}
    told = [
        missing_gpus(planned({**changes, "train.gpus": gpus}).jobs) for gpus in (1, 4, "auto", 8)
    ]
    assert told[:3] == [None, None, None]
    assert "gpus: 8, but torch finds 4; write gpus: auto" in (told[3] or "")


def test_auto_asks_nobody_where_torch_is_built_for_cpus(
    torch_of: Callable[[str, bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch_of("cuda: Optional[str] = None\nhip: Optional[str] = None\n", True)
    monkeypatch.setattr(needs.subprocess, "run", None)
    assert available_device("auto") == "cpu"


def test_auto_is_what_the_verbs_pick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "_may_have_gpu", lambda: True)
    needs._auto.cache_clear()
    assert available_device("auto") == pick_device("auto").type


def test_devices_that_are_missing_are_told_before_any_is_used() -> None:
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("this machine has a GPU")
    told = missing_devices(["mps", "cpu", "cuda:1", "cuda:1"]) or ""
    assert [line.partition(": ")[0] for line in told.splitlines()] == [
        "device 'cuda:1'",
        "device 'mps'",
    ]
    assert "use 'cpu'" in told


def test_the_cpu_is_never_missing_and_torch_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs.subprocess, "run", None)
    assert missing_devices(["cpu", "cpu"]) is None


def test_auto_is_told_where_jobs_run_on_other_machines() -> None:
    config = load_config(ROOT / "configs" / "demo.yaml")
    told = left_to_this_machine(config) or ""
    assert told.startswith("demo: train.device, efficiency.latency.device: auto stands for what")
    train = config.train and config.train.model_copy(update={"device": "cuda", "gpus": 2})
    latency = config.efficiency.latency.model_copy(update={"device": "cuda"})
    efficiency = config.efficiency.model_copy(update={"latency": latency})
    named = config.model_copy(update={"train": train, "efficiency": efficiency})
    assert left_to_this_machine(named) is None
