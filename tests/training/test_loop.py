import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from hitsr.base.errors import HitsrError, SpecError, WeightsError
from hitsr.base.files import sha256
from hitsr.base.progress import Progress
from hitsr.base.seeds import derive
from hitsr.data.patches import Patches
from hitsr.models.backbone import create
from hitsr.models.checkpoints import save_weights
from hitsr.records import TrainingRecord, read_log
from hitsr.share.published import published_state
from hitsr.specs.recipe import Recipe
from hitsr.specs.run import RunSpec, StartWeights
from hitsr.specs.zoo import NETWORKS
from hitsr.training.journal import Circumstances
from hitsr.training.loop import train

CPU = torch.device("cpu")
Start = RunSpec | StartWeights | None
TINY = NETWORKS["hit_sir"].patch(
    {"depths": [2], "windows.ratios": [0.5, 1], "windows.base": 4, "width": 12, "mixer.heads": 2}
)


def _run(seed: int = 1, scale: int = 2, start_from: Start = None, **recipe) -> RunSpec:
    values = {"steps": 6, "batch": 2, "patch": 8, "learning_rate": 1e-3, "log_every": 2}
    return RunSpec(
        network=TINY,
        scale=scale,
        recipe=Recipe(**{**values, "validate_every": 4, **recipe}),
        data="train",
        validation="test",
        seed=seed,
        start_from=start_from,
    )


def _patches(run: RunSpec) -> Patches:
    """One smooth HR picture; its LR is made by averaging."""
    rows, columns = np.mgrid[0:96, 0:96]
    hr = np.stack([rows * 2, columns * 2, 100 + 90 * np.sin(rows / 5)], -1).astype(np.uint8)
    side = 96 // run.scale
    lr = hr.reshape(side, run.scale, side, run.scale, 3).mean((1, 3)).astype(np.uint8)
    recipe = run.recipe
    return Patches(
        [(lr, hr)],
        scale=run.scale,
        patch=recipe.patch,
        batch=recipe.batch,
        seed=derive(run.seed, "patches"),
    )


def _train(run: RunSpec, out: Path, model: nn.Module | None = None, **options) -> TrainingRecord:
    if model is None:
        torch.manual_seed(derive(run.seed, "weights"))
        model = create(run.network, run.scale)
    return train(
        model, run, _patches(run), lambda _: 30.0, out, CPU, job_hash="0", quiet=True, **options
    )


def test_weights_files_depend_on_the_seed_only(tmp_path: Path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.rand(seed)  # numbers drawn before the training do not matter
        _train(_run(seed), tmp_path / name)
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in "abc"]
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]


def test_writes_log_weights_and_record(tmp_path: Path):
    run = _run(milestones=(3,))
    record = _train(run, tmp_path)
    log = read_log(tmp_path / "log.jsonl")
    assert [line.step for line in log] == [2, 4, 6]
    assert [line.learning_rate for line in log] == [1e-3, 5e-4, 5e-4]
    assert [line.validation_psnr_db for line in log] == [None, 30.0, 30.0]
    assert log[0].seconds < log[2].seconds
    assert TrainingRecord.load(tmp_path / "record.json", job_hash="0").run == run == record.run
    assert (record.final_loss, record.final_validation_psnr_db) == (log[2].loss, 30.0)
    assert record.weights_sha256 == sha256(tmp_path / "weights.safetensors")
    assert record.log_sha256 == sha256(tmp_path / "log.jsonl")
    assert {line.job_hash for line in log} == {"0"}
    assert (record.pictures, record.provenance.seed) == (1, 1)
    with safe_open(tmp_path / "weights.safetensors", "pt") as file:
        assert json.loads(file.metadata()["hitsr"])["run_hash"] == run.hash
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoints",
        "log.jsonl",
        "record.json",
        "weights.safetensors",
    ]


def test_a_log_line_has_the_mean_loss_since_the_line_before(tmp_path: Path):
    _train(_run(log_every=1), tmp_path / "a")
    _train(_run(log_every=100, validate_every=100), tmp_path / "b")
    every = [line.loss for line in read_log(tmp_path / "a" / "log.jsonl")]
    (once,) = read_log(tmp_path / "b" / "log.jsonl")
    assert once.step == 6
    assert once.loss == pytest.approx(sum(every) / 6)


def test_the_loss_falls(tmp_path: Path):
    _train(_run(steps=60, log_every=10, learning_rate=2e-3), tmp_path)
    log = read_log(tmp_path / "log.jsonl")
    assert log[-1].loss < 0.5 * log[0].loss


class Diverging(nn.Module):
    """A model that is infinite at some of its forwards."""

    def __init__(self, infinite: frozenset[int] = frozenset({4})) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.forwards, self.infinite = 0, infinite

    def forward(self, x: Tensor) -> Tensor:
        self.forwards += 1
        scaled = F.interpolate(x, scale_factor=2) * self.weight
        return scaled + torch.inf if self.forwards in self.infinite else scaled


def test_a_step_without_a_finite_loss_changes_nothing_and_is_told(tmp_path: Path):
    said: list[str] = []
    run = _run(milestones=(3,), log_every=100)
    record = _train(run, tmp_path, Diverging(), tell=said.append)
    assert record.skipped == (4,)
    (word,) = said
    assert word.startswith("hit_sir-x2-s1: the loss of step 4 is not finite; it changes nothing")
    assert "patches: picture 0 at " in word
    weights = load_file(tmp_path / "weights.safetensors")
    assert all(value.isfinite().all() for value in weights.values())


def test_steps_without_a_finite_loss_in_a_row_name_a_few_patches_each(tmp_path: Path):
    said: list[str] = []
    run, infinite = _run(batch=64, log_every=1), frozenset({2, 3, 5})
    usual = Circumstances(most_skipped=2)
    record = _train(run, tmp_path, Diverging(infinite), tell=said.append, circumstances=usual)
    assert record.skipped == (2, 3, 5)
    assert len(said) == 3
    for word, step in zip(said, (2, 3, 5), strict=True):
        (told,) = re.findall("patches: (.*)", word)
        *named, more = told.split("; ")
        assert f"step {step} is" in word
        assert (len(named), more) == (4, "60 more")
        assert _patches(run).described(step).startswith("; ".join(named))
        assert len(_patches(run).described(step).split("; ")) == 64
    assert all(line.loss > 0 for line in read_log(tmp_path / "log.jsonl"))


def test_no_loss_is_logged_before_there_is_one(tmp_path: Path):
    run, usual = _run(log_every=1, steps=3), Circumstances(most_skipped=3)
    _train(run, tmp_path / "a", Diverging(frozenset({1, 2})), circumstances=usual)
    losses = [line.loss for line in read_log(tmp_path / "a/log.jsonl")]
    assert losses[:2] == [None, None]
    assert losses[2] is not None
    with pytest.raises(HitsrError, match="no step had a finite gradient"):
        _train(run, tmp_path / "b", Diverging(frozenset({1, 2, 3})), circumstances=usual)
    assert not (tmp_path / "b/record.json").exists()


def test_progress_shows_the_last_validation_though_a_training_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class Stopped(Diverging):
        def forward(self, x: Tensor) -> Tensor:
            if self.forwards == 4:
                raise KeyboardInterrupt
            return super().forward(x)

    run, often = _run(log_every=1), Circumstances(checkpoint_every=4)
    with pytest.raises(KeyboardInterrupt):
        _train(run, tmp_path, Stopped(frozenset()), circumstances=often)
    said: list[str] = []
    monkeypatch.setattr(Progress, "note", lambda _, text: said.append(text))
    _train(run, tmp_path, Diverging(frozenset()), circumstances=often, tell=said.append)
    assert said[0] == "hit_sir-x2-s1: goes on from step 4 of 6"
    assert re.fullmatch(r"loss 0\.\d{4}, 30\.00 dB, 0\.\d\d device-hours", said[1])
    assert len(said) == 3


def test_too_many_steps_without_a_finite_loss_end_the_training(tmp_path: Path):
    run = _run(steps=8, log_every=1)
    usual = Circumstances(checkpoint_every=2, most_skipped=2)
    model = Diverging(frozenset({4, 5, 6, 7}))
    with pytest.raises(HitsrError, match=r"loss of step 6 is not finite.*learning rate 0\.001"):
        _train(run, tmp_path, model, circumstances=usual)
    assert [path.name[:8] for path in sorted((tmp_path / "checkpoints").iterdir())] == [
        "00000002",
        "00000004",
    ]
    assert not (tmp_path / "weights.safetensors").exists()
    assert not (tmp_path / "record.json").exists()


def _interrupted(run: RunSpec, out: Path) -> None:
    def interrupt(_: nn.Module) -> float:
        raise KeyboardInterrupt

    model = create(TINY, 2)
    with pytest.raises(KeyboardInterrupt):
        train(model, run, _patches(run), interrupt, out, CPU, job_hash="1", quiet=True)


def test_an_interruption_leaves_only_the_log(tmp_path: Path):
    _interrupted(_run(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["log.part.jsonl"]
    (line,) = read_log(tmp_path / "log.part.jsonl")
    assert (line.step, line.job_hash) == (2, "1")


def test_an_interruption_leaves_the_results_of_an_earlier_training(tmp_path: Path):
    _train(_run(), tmp_path)
    results = ("log.jsonl", "record.json", "weights.safetensors")
    before = [(tmp_path / name).read_bytes() for name in results]
    _interrupted(_run(learning_rate=2e-3), tmp_path)
    assert (tmp_path / "log.part.jsonl").exists()
    assert [(tmp_path / name).read_bytes() for name in results] == before


@pytest.mark.parametrize("step", ["weights.part.safetensors", "log.jsonl", "record.json"])
def test_a_kill_among_the_results_leaves_no_record_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
):
    _train(_run(), tmp_path)
    plain = Path.replace

    def killed(path: Path, target: Path) -> Path:
        if step in (path.name, target.name):
            raise KeyboardInterrupt
        return plain(path, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        _train(_run(learning_rate=2e-3), tmp_path)
    if (tmp_path / "record.json").exists():
        record = TrainingRecord.load(tmp_path / "record.json", job_hash="0")
        assert record.weights_sha256 == sha256(tmp_path / "weights.safetensors")
        assert read_log(tmp_path / "log.jsonl", record)
    else:
        assert not list(tmp_path.glob("record*"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's full device")
def test_a_full_disk_names_the_log(tmp_path: Path):
    (tmp_path / "log.part.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device") as caught:
        _train(_run(), tmp_path)
    assert caught.value.filename == str(tmp_path / "log.part.jsonl")


def test_starts_with_the_weights_of_another_scale(tmp_path: Path):
    first = _run()
    _train(first, tmp_path / "x2")
    weights = tmp_path / "x2" / "weights.safetensors"
    second = _run(scale=3, start_from=first, steps=1, learning_rate=1e-12)
    model = create(TINY, 3)
    _train(second, tmp_path / "x3", model, start_from=weights)
    with safe_open(weights, "pt") as file:
        assert torch.allclose(model.state_dict()["first.weight"], file.get_tensor("first.weight"))

    save_weights(create(TINY.patch({"width": 24}), 2), weights, {})
    with pytest.raises(WeightsError):
        _train(second, tmp_path / "x3", start_from=weights)


def test_starts_with_the_averaged_weights_of_a_basicsr_checkpoint(tmp_path: Path):
    torch.manual_seed(5)
    source, file, said = create(TINY, 2), tmp_path / "net_g_5000.pth", list[str]()
    state = {f"module.{name}": value for name, value in published_state(source).items()}
    zeros = {name: torch.zeros_like(value) for name, value in state.items()}
    torch.save({"params": zeros, "params_ema": state}, file)
    begun = StartWeights(name=file.name, sha256=sha256(file))
    run = _run(steps=1, learning_rate=1e-12, start_from=begun)
    model = create(TINY, 2)
    _train(run, tmp_path / "x2", model, start_from=file, tell=said.append)
    assert f"{file}: takes params_ema, not params" in said
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, source.state_dict()[name], rtol=0, atol=1e-10)


def test_patches_and_start_must_match_the_run(tmp_path: Path):
    run = _run()
    with pytest.raises(ValueError, match="patches have"):
        train(create(TINY, 2), run, _patches(_run(2)), lambda _: 0.0, tmp_path, CPU, job_hash="0")
    with pytest.raises(SpecError, match="starts from no run"):
        _train(run, tmp_path, start_from=tmp_path / "weights.safetensors")
    with pytest.raises(SpecError, match="give its weights file"):
        _train(_run(scale=3, start_from=run), tmp_path)


def test_the_record_has_the_settings_of_the_training_and_of_no_other(tmp_path: Path):
    record = _train(_run(deterministic=False), tmp_path)
    assert record.settings["deterministic_algorithms"] == "False"
    assert (record.graph, record.no_graph) == (False, None)


def test_validation_tries_no_kernels(tmp_path: Path):
    def validate(_: nn.Module) -> float:
        seen.append(torch.backends.cudnn.benchmark)
        return 30.0

    seen: list[bool] = []
    run = _run(deterministic=False)
    train(create(TINY, 2), run, _patches(run), validate, tmp_path, CPU, job_hash="0", quiet=True)
    assert seen == [False, False]
