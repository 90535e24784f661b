"""Curves for TensorBoard, read by TensorBoard itself; skipped where it is not installed."""

from pathlib import Path
from runpy import run_path

import pytest

from hitsr.base.errors import SpecError
from hitsr.plan import needs
from hitsr.records import read_log
from hitsr.training.journal import Circumstances

LOOP = run_path(str(Path(__file__).with_name("test_loop.py")))
SHOWN = Circumstances(checkpoint_every=2, tensorboard=True)


def _points(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """The curves that TensorBoard shows of a training."""
    reason = "tensorboard is an extra, and not installed here"
    module = "tensorboard.backend.event_processing.event_accumulator"
    accumulator = pytest.importorskip(module, reason=reason).EventAccumulator(str(folder))
    accumulator.Reload()
    return {
        name: [(each.step, each.value) for each in accumulator.Scalars(name)]
        for name in accumulator.Tags()["scalars"]
    }


def test_curves_are_those_of_the_log_though_a_training_was_stopped(tmp_path: Path):
    pytest.importorskip("tensorboard", reason="tensorboard is an extra, and not installed here")
    run, train = LOOP["_run"](log_every=1), LOOP["_train"]

    class Stopped(LOOP["Diverging"]):
        def forward(self, x):
            if self.forwards == 5:
                raise KeyboardInterrupt
            return super().forward(x)

    with pytest.raises(KeyboardInterrupt):
        train(run, tmp_path, Stopped(frozenset()), circumstances=SHOWN)
    assert [step for step, _ in _points(tmp_path / "tensorboard")["loss"]] == [1, 2, 3, 4, 5]
    train(run, tmp_path, LOOP["Diverging"](frozenset()), circumstances=SHOWN)
    log = read_log(tmp_path / "log.jsonl")
    found = _points(tmp_path / "tensorboard")
    assert found["loss"] == [(line.step, pytest.approx(line.loss)) for line in log]
    assert found["learning_rate"] == [(n, pytest.approx(1e-3)) for n in range(1, 7)]
    assert found["validation_psnr_db"] == [(4, 30.0), (6, 30.0)]


def test_a_training_for_tensorboard_without_it_stops_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(needs, "find_spec", lambda _: None)
    with pytest.raises(SpecError, match="tensorboard: is not installed; `pip install tensorboard`"):
        LOOP["_train"](LOOP["_run"](), tmp_path, circumstances=SHOWN)
