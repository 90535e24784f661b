"""What may happen to a training: each case is made to happen, and the same job then goes on."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

import hitsr.cli.doing.training as doing
from hitsr.base.errors import DataError, HitsrError
from hitsr.base.files import sha256
from hitsr.cli import app
from hitsr.data.images import write_png
from hitsr.data.sources import prepare
from hitsr.plan.jobs import TrainJob
from hitsr.records import TrainingRecord, read_log
from hitsr.specs.config import OnMiss
from hitsr.specs.recipe import Gate, Recipe
from hitsr.specs.run import RunSpec
from hitsr.specs.zoo import NETWORKS
from hitsr.training import step as steps

TINY = NETWORKS["hit_sir"].patch(
    {"depths": [1], "windows.ratios": [1], "windows.base": 4, "width": 12, "mixer.heads": 2}
)
STEPS = 8
CHECKPOINT = r"\d{8}-\w+\.safetensors"
Results: TypeAlias = tuple[str, list[tuple[object, ...]]]  # hash of weights; log


def _set(folder: Path, count: int, side: int = 32) -> None:
    rows, columns = np.mgrid[0:side, 0:side]
    for number in range(count):
        hr = np.stack([rows * 4, columns * 4, 128 + 90 * np.sin(rows / (3 + number))], -1)
        write_png(folder / "HR" / f"{number}.png", hr.astype(np.uint8))
    hr_files = {path.stem: path for path in (folder / "HR").iterdir()}
    prepare(hr_files, folder, (2,), lambda _: None)


def _make_sets(data: Path) -> None:
    _set(data / "train", 2)
    _set(data / "val", 1)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    _make_sets(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def job(data: Path, tmp_path: Path) -> TrainJob:
    return _job(data, tmp_path / "out")


def _job(data: Path, out: Path, **recipe: Any) -> TrainJob:
    values = {"steps": STEPS, "batch": 2, "patch": 8, "learning_rate": 1e-3, "log_every": 1}
    made = Recipe(**{**values, "validate_every": 4, **recipe})
    run = RunSpec(network=TINY, scale=2, recipe=made, data="train", validation="val", seed=1)
    return TrainJob(
        name=run.name,
        output=out / "record.json",
        run=run,
        data=data,
        packs=data.parent / "packs",
        device="cpu",
        checkpoint_every=2,
    )


def _folder(job: TrainJob) -> Path:
    assert job.output is not None
    return job.output.parent


def _train(job: TrainJob) -> TrainingRecord:
    return doing.train(job, 1)


def _results(job: TrainJob) -> Results:
    lines = read_log(_folder(job) / "log.jsonl")
    told = [(each.step, each.loss, each.validation_psnr_db) for each in lines]
    return sha256(_folder(job) / "weights.safetensors"), told


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Weights and log of the training that nothing happens to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    _make_sets(folder / "data")
    job = _job(folder / "data", folder / "out")
    _train(job)
    return _results(job)


def _at_step(number: int, act: Callable[[], None], patched: pytest.MonkeyPatch) -> None:
    """Do something as the forward of a step begins."""
    plain = steps.TrainingStep.__call__

    def watched(self: steps.TrainingStep, lr: Tensor, hr: Tensor) -> Tensor:
        if self.taken + 1 == number:
            act()
        return plain(self, lr, hr)

    patched.setattr(steps.TrainingStep, "__call__", watched)


def _saved(job: TrainJob) -> list[int]:
    return sorted(int(path.name[:8]) for path in (_folder(job) / "checkpoints").iterdir())


def _raise(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


def _allocate_too_much() -> None:
    torch.empty(1 << 60, dtype=torch.uint8)


@pytest.mark.parametrize(
    "act",
    [
        _allocate_too_much,
        _raise(MemoryError()),
        _raise(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")),
    ],
    ids=["cpu", "python", "cuda"],
)
def test_out_of_memory_names_what_needs_it_and_what_reduces_it(
    job: TrainJob,
    act: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    undisturbed: Results,
):
    with monkeypatch.context() as patched:
        _at_step(6, act, patched)
        with pytest.raises(HitsrError) as caught:
            _train(job)
    said = str(caught.value)
    assert said.startswith(
        "hit_sir-x2-s1: out of memory on cpu in steps of batch 2 in 1 part(s), patch 8, 1 device(s)"
    )
    for word in ("recompute", "graph: false", "gpus", "parts", "bfloat16", "from step 4"):
        assert word in said
    assert "\n" not in said
    assert _saved(job) == [2, 4]
    _train(job)
    assert _results(job) == undisturbed


def test_another_fault_of_a_step_is_no_lack_of_memory(
    job: TrainJob, monkeypatch: pytest.MonkeyPatch
):
    _at_step(1, _raise(RuntimeError("shapes do not match")), monkeypatch)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        _train(job)


def test_out_of_memory_in_the_first_step_promises_no_checkpoint(
    job: TrainJob, monkeypatch: pytest.MonkeyPatch
):
    _at_step(1, _allocate_too_much, monkeypatch)
    with pytest.raises(HitsrError, match="repeat the command: it starts anew"):
        _train(job)


@pytest.mark.parametrize("full", [CHECKPOINT, "weights.part.safetensors", "record.json"])
def test_a_full_disk_names_the_file_and_loses_nothing(
    job: TrainJob,
    full: str,
    monkeypatch: pytest.MonkeyPatch,
    undisturbed: Results,
):
    """Writing a checkpoint, the weights or the record fails as on a full disk."""
    with monkeypatch.context() as patched:
        _full_at(full, patched)
        with pytest.raises(HitsrError) as caught:
            _train(job)
    said = str(caught.value)
    assert "No space left on device; make room, then repeat the command: it goes on from" in said
    assert re.search(full, said)
    assert not (_folder(job) / "record.json").exists()
    _train(job)
    assert _results(job) == undisturbed
    assert not list(_folder(job).glob("**/.hitsr-*"))


def _full_at(pattern: str, patched: pytest.MonkeyPatch) -> None:
    """Let the disk be full when a file of this name is flushed, of checkpoints the third."""
    plain, names = Path.replace, list[str]()

    def replace(path: Path, target: Path) -> Path:
        if path.name.startswith(".hitsr-") and re.fullmatch(pattern, target.name):
            names.append(target.name)
            if len(names) == (3 if pattern == CHECKPOINT else 1):
                raise OSError(28, "No space left on device", str(path))
        return plain(path, target)

    patched.setattr(Path, "replace", replace)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's full device")
def test_a_full_disk_for_the_log_loses_nothing(job: TrainJob, undisturbed: Results):
    log = _folder(job) / "log.part.jsonl"
    log.parent.mkdir()
    log.symlink_to("/dev/full")
    with pytest.raises(HitsrError, match=r"log\.part\.jsonl: No space left on device; make room"):
        _train(job)
    log.unlink()
    _train(job)
    assert _results(job) == undisturbed


def test_pictures_and_packs_may_be_gone_while_a_training_runs(
    job: TrainJob,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    undisturbed: Results,
):
    def lose() -> None:
        shutil.rmtree(data)
        shutil.rmtree(job.packs)

    _at_step(2, lose, monkeypatch)
    _train(job)
    assert _results(job) == undisturbed


def _replace(folder: Path) -> None:
    """Replace a picture of a set by another."""
    hr = folder / "HR/0.png"
    write_png(hr, np.random.default_rng(9).integers(0, 256, (32, 32, 3), np.uint8))
    prepare({path.stem: path for path in hr.parent.iterdir()}, folder, (2,), print)


@pytest.mark.parametrize(
    ("name", "words"), [("train", "other pictures"), ("val", "other pictures to validate with")]
)
def test_a_replaced_picture_is_told_when_a_training_goes_on(
    job: TrainJob, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    name: str, words: str,
):  # fmt: skip
    def replace() -> None:
        _replace(data / name)

    with monkeypatch.context() as patched:
        _at_step(5, replace, patched)
        _at_step(7, _raise(MemoryError()), patched)
        with pytest.raises(HitsrError):
            _train(job)
    assert _saved(job) == [4, 6]
    capsys.readouterr()
    record = _train(job)
    said = capsys.readouterr().err
    assert re.search(rf"of another training \({words}\); .*starts anew", said)
    assert len(record.sessions) == 1


def test_a_finished_training_is_repeated_for_other_pictures_to_validate_with(
    job: TrainJob, data: Path
):
    before = _train(job)
    _replace(data / "val")
    record = _train(job)
    assert record.final_validation_psnr_db != before.final_validation_psnr_db
    assert record.weights_sha256 == before.weights_sha256


def test_a_deleted_picture_is_told_before_a_training_goes_on(
    job: TrainJob,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    undisturbed: Results,
):
    hr = data / "train/HR/0.png"

    def delete() -> None:
        hr.rename(data / "kept.png")
        raise MemoryError

    with monkeypatch.context() as patched:
        _at_step(5, delete, patched)
        with pytest.raises(HitsrError):
            _train(job)
    with pytest.raises(DataError, match=r"no picture in .* belongs to it"):
        _train(job)
    assert _saved(job) == [2, 4]
    (data / "kept.png").rename(hr)
    _train(job)
    assert _results(job) == undisturbed


def test_a_validation_that_fails_leaves_the_checkpoint_before_it(
    job: TrainJob,
    monkeypatch: pytest.MonkeyPatch,
    undisturbed: Results,
):
    def fail(*_: object, **_others: object) -> float:
        raise ZeroDivisionError("no pixels")

    with monkeypatch.context() as patched:
        patched.setattr("hitsr.training.validation.psnr", fail)
        with pytest.raises(ZeroDivisionError):
            _train(job)
    assert _saved(job) == [2]
    _train(job)
    assert _results(job) == undisturbed


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda data: shutil.rmtree(data / "train"), "train"),
        (lambda data: shutil.rmtree(data / "val"), "val"),
        (lambda data: [path.unlink() for path in data.glob("train/*/**/*.png")], "train/HR"),
        (lambda data: [path.unlink() for path in data.glob("val/*/**/*.png")], "val/HR"),
        (lambda data: shutil.rmtree(data / "val/LR_bicubic"), "val/LR_bicubic/X2"),
        (lambda data: next(data.glob("train/LR*/X2/*.png")).unlink(), "missing .*prepare"),
    ],
)
def test_missing_pictures_stop_a_training_before_it_starts(
    job: TrainJob, data: Path, spoil: Callable[[Path], object], said: str
):
    spoil(data)
    with pytest.raises(DataError, match=said):
        _train(job)
    assert not _folder(job).exists() or not list(_folder(job).iterdir())


def test_a_picture_smaller_than_a_patch_stops_a_training_before_it_starts(
    data: Path, tmp_path: Path
):
    job = _job(data, tmp_path / "out", patch=17)
    with pytest.raises(DataError, match="16x16 is smaller than the patch of 17"):
        _train(job)


CUT_SHORT = """
import os, sys, torch
from pathlib import Path
import hitsr.training.step as steps
from hitsr.cli import main

packs, plain = Path(sys.argv[1]), steps.TrainingStep.__call__
def watched(self, lr, hr):
    if self.taken == 2:
        for pack in packs.glob("**/*.safetensors"):
            os.truncate(pack, 0)
    return plain(self, lr, hr)
steps.TrainingStep.__call__ = watched
sys.argv[1:] = ["train", "--job", sys.argv[2]]
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows lets nobody cut a mapped file short")
def test_a_pack_that_is_cut_short_ends_the_process_with_a_sentence(
    job: TrainJob, tmp_path: Path, undisturbed: Results
):
    job.save(tmp_path / "job.json")
    words = [sys.executable, "-c", CUT_SHORT, str(job.packs), str(tmp_path / "job.json")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    told = done.stderr.splitlines()[-1]
    assert told.startswith("hitsr: hit_sir-x2-s1: a memory-mapped file was cut short")
    assert str(job.packs) in told
    assert _saved(job) == [2]
    _train(job)
    assert _results(job) == undisturbed


def _gate(step: int, **others: Any) -> Gate:
    values = {"network": "hit_sir", "scale": 2, "validation": "val", "source": "the author"}
    return Gate(**{**values, "step": step, "psnr_db": 60.0, "tolerance_db": 0.5, **others})


def _with_gates(job: TrainJob, *gates: Gate, on_miss: OnMiss = "warn") -> TrainJob:
    return job.model_copy(update={"gates": gates, "on_miss": on_miss})


def test_a_missed_gate_is_told_and_recorded(
    job: TrainJob, undisturbed: Results, capsys: pytest.CaptureFixture[str]
):
    gates = _gate(4), _gate(4, psnr_db=1.0), _gate(STEPS)
    record = _train(_with_gates(job, *gates))
    assert [(each.gate, each.is_passed) for each in record.gates] == [
        (gates[0], False),
        (gates[1], True),
        (gates[2], False),
    ]
    said = [line for line in capsys.readouterr().err.splitlines() if "below the gate" in line]
    assert len(said) == 2
    reached = record.gates[0].reached_db
    assert said[0].endswith(
        f"{reached:.2f} dB on val at step 4 is below the gate of 60.00 dB less 0.50 dB "
        "(the author); the training goes on"
    )
    assert said[1].endswith("(the author)")
    assert _results(job) == undisturbed


def test_a_missed_gate_stops_a_training_until_it_may_go_on(job: TrainJob, undisturbed: Results):
    stopped = _with_gates(job, _gate(4), on_miss="stop")
    for _ in range(2):  # nor does the same command go on
        with pytest.raises(HitsrError, match=r"step 4 of 8 is saved.*at step 4 is below.*on_miss"):
            _train(stopped)
        assert _saved(job) == [2, 4]
    record = _train(_with_gates(job, _gate(4)))
    assert [each.is_passed for each in record.gates] == [False]
    assert _results(job) == undisturbed


def test_a_gate_at_the_last_step_leaves_the_results(job: TrainJob, undisturbed: Results):
    record = _train(_with_gates(job, _gate(STEPS), on_miss="stop"))
    assert [each.is_passed for each in record.gates] == [False]
    assert _results(job) == undisturbed


def test_gates_that_no_validation_can_pass_are_told_at_the_start(
    job: TrainJob, capsys: pytest.CaptureFixture[str]
):
    gates = _gate(5), _gate(20), _gate(4, network="hit_srf"), _gate(4, validation="Set5")
    record = _train(_with_gates(job, *gates, on_miss="stop"))
    assert record.gates == ()
    said = [line for line in capsys.readouterr().err.splitlines() if "is left out" in line]
    assert [line.rpartition("left out: ")[2] for line in said] == [
        "validations are every 4 steps; change `validate_every`",
        "the training has 8 steps",
        "it is of hit_srf x2 on val",
        "it is of hit_sir x2 on Set5",
    ]


def test_flags_of_the_command_line_are_those_of_the_job(
    job: TrainJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    made: list[TrainJob] = []
    monkeypatch.setattr(doing, "train", lambda job, _: made.append(job))
    (tmp_path / "run.json").write_text(job.run.to_json())
    words = ["train", str(tmp_path / "run.json"), "--data", str(job.data), "--out", "out"]
    flags = ["--checkpoint-every", "2", "--most-skipped", "3", "--on-miss", "stop"]
    switches = ["--tensorboard", "--recompute"]
    CliRunner().invoke(app, [*words, *flags, *switches], catch_exceptions=False)
    (found,) = made
    asked = (found.checkpoint_every, found.most_skipped, found.on_miss)
    assert asked == (2, 3, "stop")
    assert found.tensorboard
    assert found.recompute
    assert found.hash == job.hash
