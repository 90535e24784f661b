"""Each doubt about a measurement arises from what it is about, and from nothing else."""

import random
import re
from typing import Any

import pytest

from hitsr.records import (
    Complexity,
    GateResult,
    LatencyRecord,
    MachineState,
    Provenance,
    Session,
    TrainingRecord,
)
from hitsr.records.doubts import count_doubts, time_doubts, training_doubts
from hitsr.specs.recipe import Gate, Recipe, TrainingPrecision
from hitsr.specs.run import RunSpec
from hitsr.specs.zoo import NETWORKS

NOISE = random.Random(0)
CLEAN_MS = tuple(NOISE.gauss(20, 0.2) for _ in range(50))


def record(device: str = "cuda:0", threads: int = 1, **fields: Any) -> LatencyRecord:
    made = Provenance(
        commit=None, dirty=None, versions={}, device=device, device_name="a device",
        threads=threads, command="hitsr latency", seconds=1,
    )  # fmt: skip
    sizes = {"network": "hit_sir", "scale": 2, "output_size": (64, 64), "input_size": (32, 32)}
    usual = {"warmup": 9, "warmup_stable": True, "samples_ms": CLEAN_MS}
    return LatencyRecord(
        subject="hit_sir-x2", job_hash="0" * 16, provenance=made, clock="wall", formulation="fused",
        peak_memory_bytes=1, memory_kind="resident_set", **sizes, **{**usual, **fields},
    )  # fmt: skip


def gpu(**fields: Any) -> dict[str, MachineState]:
    usual = {"gpu_mhz": 1935, "gpu_max_mhz": 1980, "gpu_held_down_by": (), "gpu_other_processes": 0}
    at_rest = MachineState.model_validate({**usual, "gpu_mhz": 345, "cpu_load": 99, "cpus": 2})
    return {"before": at_rest, "after": MachineState.model_validate({**usual, **fields})}


def cpu(before: float, after: float, cpus: int) -> dict[str, MachineState]:
    return {
        "before": MachineState(cpu_load=before, cpus=cpus),
        "after": MachineState(cpu_load=after, cpus=cpus),
    }


@pytest.mark.parametrize(
    "clean",
    [
        record(),
        record(**gpu()),
        record(warmup_stable=None),
        record(samples_ms=(20.0,)),
        record(samples_ms=(20.0, 30.0)),  # two say nothing
        record(samples_ms=(20.0, 21.0, 20.0)),
        record(samples_ms=(20.0,) * 50),
        # A single slow forward somewhere is no trend, no group and no spread.
        record(samples_ms=(*CLEAN_MS[:30], 60.0, *CLEAN_MS[30:])),
        record(samples_ms=tuple(NOISE.uniform(20, 22) for _ in range(50))),
        record("cpu", **cpu(0.3, 1.4, 2)),
        record("cpu", threads=8, **cpu(2.0, 9.5, 8)),
        record("cpu", **gpu(gpu_mhz=100)),  # of a GPU that was not used
    ],
)
def test_a_clean_record_raises_no_doubt(clean: LatencyRecord):
    load = {"cpu_load": 0.0}
    states = {
        name: state.model_copy(update=load)
        for name in ("before", "after")
        if (state := getattr(clean, name)) and state.gpu_max_mhz
    }
    assert time_doubts(clean.model_copy(update=states)) == ()


@pytest.mark.parametrize(
    ("doubtful", "words"),
    [
        (
            record(samples_ms=(46.0, *CLEAN_MS[1:])),
            "the first forward took 2.3 times as long as the others",
        ),
        (
            record(samples_ms=tuple(ms * (1 + 0.1 * n / 49) for n, ms in enumerate(CLEAN_MS))),
            "times rise by 10% from the first to the last",
        ),
        (
            record(samples_ms=tuple(ms * (1 - 0.08 * n / 49) for n, ms in enumerate(CLEAN_MS))),
            "times fall by 7% from the first to the last",
        ),
        (
            record(samples_ms=tuple(ms + 5 * (n % 3 == 0) for n, ms in enumerate(CLEAN_MS))),
            "times form two groups, below 20.5 and above 24.6 ms",
        ),
        (
            record(samples_ms=tuple(15 + 10 * ((n * 0.618) % 1) for n in range(50))),
            "the middle half of the times spans 24% of the median",
        ),
        (
            record(warmup_stable=False),
            "times had not settled when the warm-up ended, after 9 forwards",
        ),
        (
            record(**gpu(gpu_held_down_by=("power limit", "power brake"))),
            "GPU clocks were held down: power limit, power brake",
        ),
        (record(**gpu(gpu_mhz=1200)), "GPU at 1200 of 1980 MHz after the last sample"),
        (record(**gpu(gpu_other_processes=1)), "1 other process on the GPU"),
        (
            record(**gpu(gpu_other_processes=2, gpu_other_memory_mb=5200)),
            "2 other processes on the GPU, with 5200 MB",
        ),
        (record("cpu", **cpu(1.2, 2.8, 2)), "other work kept 1.8 of 2 processors busy"),
        (record("cpu", **cpu(6.0, 6.0, 2)), "other work kept 2.0 of 2 processors busy"),
        (record("cpu", **cpu(9.0, 8.0, 16)), "other work kept 8.0 of 16 processors busy"),
    ],
)
def test_a_doubt_says_what_is_wrong(doubtful: LatencyRecord, words: str):
    (doubt,) = time_doubts(doubtful)
    assert doubt == words


def test_a_record_without_the_state_of_the_machine_is_judged_by_its_samples():
    assert time_doubts(record(before=None, after=None)) == ()


def test_a_count_lacks_what_is_unknown():
    counted = Complexity(counter="torch", params=1, flops=0, flops_by_operator={}, uncounted={})
    assert count_doubts(counted) == ()
    unknown = {"mylib::mix": 2, "Triton kernel k": 1}
    assert count_doubts(counted.model_copy(update={"unknown": unknown})) == (
        "FLOPs lack what these compute: mylib::mix (2 calls), Triton kernel k (1 call)",
    )


def training(precision: TrainingPrecision = "float32", **fields: Any) -> TrainingRecord:
    run = RunSpec(
        network=NETWORKS["hit_srf"], scale=2, data="DIV2K", validation="Set5", seed=1,
        recipe=Recipe(steps=90, batch=4, patch=16, learning_rate=5e-4, precision=precision),
    )  # fmt: skip
    return TrainingRecord(
        subject=run.name, job_hash="0", provenance=record().provenance, run=run, params=1,
        pictures=8, final_loss=0.01, final_validation_psnr_db=38.0, weights_sha256="cafe", **fields,
    )  # fmt: skip


def sessions(*fields: dict[str, Any]) -> tuple[Session, ...]:
    usual = {"first_step": 1, "last_step": 9, "seconds": 1, "device_name": "A", "commit": "c" * 40}
    return tuple(Session.model_validate(usual | each) for each in fields)


def gate(reached_db: float) -> GateResult:
    known = Gate(
        network="hit_srf", scale=2, validation="Set5", step=50, psnr_db=38.11, source="a log"
    )
    return GateResult(gate=known, reached_db=reached_db)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"sessions": sessions({})},
        {"sessions": sessions({}, {"devices": 4}, {})},  # how many devices changes no bit
        {"sessions": sessions({"code": "1"}, {"code": "1", "commit": "d" * 40})},
        {"gates": (gate(38.02), gate(39.0))},
        {"precision": "float16", "skipped": (1, 2)},  # which is how the loss is scaled
    ],
)
def test_a_training_as_its_recipe_says_raises_no_doubt(fields: dict[str, Any]):
    assert training_doubts(training(**fields)) == ()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"gates": (gate(38.05), gate(38.0))}, "step 50 was 38.000 dB, more than 0.1 dB below"),
        ({"skipped": (7,)}, "1 step was skipped, as loss or gradient was not finite (7)"),
        ({"skipped": tuple(range(1, 9))}, "8 steps were skipped, .* (1, 2, 3, 4, 5, and 3 more)"),
        ({"sessions": sessions({}, {"device_name": "B"}, {})}, "ran on different devices: A, B"),
        (
            {"sessions": sessions({}, {"commit": "d" * 40})},
            "different code .*: commit c+, commit d+",
        ),
        (
            {"sessions": sessions({"code": "1"}, {"code": "2"})},
            "different code .*: commit c{10}, commit c{10}$",
        ),
        (
            {"sessions": sessions({}, {"commit": None})},
            "different code .*: commit c+, commit unk",
        ),
        ({"sessions": sessions({}, {"torch": "2.9"})}, "versions of PyTorch: unknown, 2.9"),
    ],
)
def test_what_may_have_changed_weights_is_one_doubt(fields: dict[str, Any], said: str):
    (doubt,) = training_doubts(training(**fields))
    assert re.search(said.replace("(", r"\(").replace(")", r"\)"), doubt)
