import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from hitsr.base.errors import RecordError
from hitsr.records import (
    ComplexityRecord,
    DatasetRecord,
    EntryPicture,
    EntryRun,
    LatencyRecord,
    LogLine,
    NtireRecord,
    PictureFile,
    PictureScore,
    Provenance,
    QualityRecord,
    Record,
    TrainingRecord,
    read_log,
)
from hitsr.specs.recipe import Recipe
from hitsr.specs.run import RunSpec
from hitsr.specs.zoo import NETWORKS

RUN = RunSpec(
    network=NETWORKS["hit_sir"],
    scale=2,
    recipe=Recipe(steps=10, batch=1, patch=24, learning_rate=1e-3),
    data="A",
    validation="B",
    seed=1,
)
COMMON: dict[str, Any] = {
    "subject": "hit_sir-x2",
    "job_hash": "0123456789abcdef",
    "provenance": Provenance(
        commit=None,
        dirty=None,
        versions={"python": "3.11"},
        device="cpu",
        device_name="a processor",
        threads=1,
        command="hitsr test",
        seconds=0.1,
    ),
}
SIZES: dict[str, Any] = {
    "network": "hit_sir",
    "scale": 2,
    "output_size": (1280, 720),
    "input_size": (640, 360),
    "formulation": "fused",
}
LATENCY = LatencyRecord(
    **COMMON,
    **SIZES,
    clock="wall",
    warmup=1,
    samples_ms=(0.1, 1 / 3, 1e-9),
    peak_memory_bytes=0,
    memory_kind="resident_set",
)
RECORDS: list[Record] = [
    LATENCY,
    ComplexityRecord(
        **COMMON,
        **SIZES,
        counter="torch",
        params=772064,
        flops=209890000000,
        flops_by_operator={"conv": 209889999999, "matmul": 1},
        uncounted={},
    ),
    TrainingRecord(
        **COMMON,
        run=RUN.model_copy(update={"start_from": RUN}),
        params=772064,
        pictures=3,
        final_loss=0.01,
        final_validation_psnr_db=None,
        weights_sha256="0" * 64,
    ),
    DatasetRecord(
        **COMMON,
        scale=2,
        pictures=(
            PictureFile(
                name="ä", lr_size=(1, 2), hr_size=(2, 5), lr_sha256="a" * 64, hr_sha256="b" * 64
            ),
        ),
    ),
    QualityRecord(
        **COMMON,
        method="bicubic",
        dataset="Set5",
        scale=2,
        border=2,
        signatures={"psnr": "y"},
        pictures=(PictureScore(name="same", psnr_db=None, ssim=1.0),),
    ),
    NtireRecord(
        **COMMON,
        network="hit_sir",
        formulation="fused",
        params=1,
        flops=0,
        activations=0,
        convolutions=0,
        pictures=(EntryPicture(name="a", lr_size=(1, 2), lr_sha256="a" * 64),),
        runs=(
            EntryRun(
                times_ms=(0.5,), clock="cuda_events", peak_memory_bytes=1,
                memory_kind="cuda_allocator", psnr_db=(None,),
            ),
        ),
    ),
]  # fmt: skip


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.KIND)
def test_a_record_is_what_was_saved(record: Record, tmp_path: Path):
    file = tmp_path / "records" / "a.json"
    record.save(file)
    assert type(record).load(file) == record
    assert type(record).load(file, job_hash="0123456789abcdef") == record
    assert json.loads(file.read_text())["schema"] == f"{record.KIND}/{record.VERSION}"
    before = file.read_bytes()
    record.save(file)
    assert file.read_bytes() == before


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.KIND)
def test_another_records_schema_is_refused(record: Record, tmp_path: Path):
    file = tmp_path / "a.json"
    record.save(file)
    for other in {type(other) for other in RECORDS} - {type(record)}:
        with pytest.raises(RecordError, match=f"schema is '{record.KIND}/2'.*delete it and rerun"):
            other.load(file)


def _damaged(file: Path, changes: dict[str, Any]) -> None:
    LATENCY.save(file)
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_another_version_is_refused(tmp_path: Path):
    _damaged(tmp_path / "a.json", {"schema": "latency/1"})
    with pytest.raises(RecordError, match=r"a\.json: schema is 'latency/1'.*reads 'latency/2'"):
        LatencyRecord.load(tmp_path / "a.json")


def test_another_job_is_refused(tmp_path: Path):
    LATENCY.save(tmp_path / "a.json")
    with pytest.raises(RecordError, match=r"as job 0123456789abcdef .*, but .* job fedcba"):
        LatencyRecord.load(tmp_path / "a.json", job_hash="fedcba9876543210")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", "null", '{"a": 1}', "\x80", "\0" * 9, "[" * 3000 + "]" * 3000],
    ids=lambda text: text[:4].encode().hex(),
)
def test_what_is_no_record_is_refused(text: str, tmp_path: Path):
    (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(RecordError, match=r"a\.json: not a record .*delete it and rerun"):
        LatencyRecord.load(tmp_path / "a.json")


def test_half_a_record_is_refused(tmp_path: Path):
    LATENCY.save(tmp_path / "a.json")
    whole = (tmp_path / "a.json").read_text()
    (tmp_path / "a.json").write_text(whole[: len(whole) // 2])
    with pytest.raises(RecordError, match=r"a\.json: not a record"):
        LatencyRecord.load(tmp_path / "a.json")


def test_a_byte_order_mark_is_skipped(tmp_path: Path):
    file = tmp_path / "a.json"
    file.write_text(f"\ufeff{LATENCY.to_json()}", encoding="utf-8")
    assert LatencyRecord.load(file) == LATENCY


def test_a_missing_record_is_named(tmp_path: Path):
    with pytest.raises(RecordError, match=r"gone\.json"):
        LatencyRecord.load(tmp_path / "gone.json")


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"samples_ms": []}, "samples_ms"),
        ({"samples_ms": [1.0, float("nan")]}, "samples_ms.1"),
        ({"samples_ms": [float("inf")]}, "samples_ms.0"),
        ({"samples_ms": [0.0]}, "samples_ms.0"),
        ({"clock": "sundial"}, "clock"),
        ({"median_ms": 3.0}, "no field 'median_ms'"),
        ({"provenance": {}}, "'provenance.commit' is missing"),
    ],
)
def test_values_that_cannot_be_are_refused(changes: dict[str, Any], word: str, tmp_path: Path):
    _damaged(tmp_path / "a.json", changes)
    with pytest.raises(RecordError, match=r"a\.json: .*") as caught:
        LatencyRecord.load(tmp_path / "a.json")
    assert word in str(caught.value)
    assert "delete it and rerun" in str(caught.value)


@pytest.mark.parametrize(
    "damage",
    [
        b'{"schema": "latency/2", "warmup": 1' + b"0" * 400 + b"}",
        b'{"schema": "latency/2", "warmup": ' + b'{"a": ' * 3000 + b"1" + b"}" * 3000 + b"}",
        b'{"schema": "latency/2", "warmup": ' + b"[1, " * 3 + b"\xff" * 5000,
        b'{"schema": "latency/2"' + b', "samples_ms": null' * 3000 + b"}",
        b'{"schema": "latency/2", "samples_ms": "' + b"x" * 9000 + b'"}',
        b'{"schema": null}',
        b'{"schema": ["latency/2"]}',
    ],
    ids=["digits", "deep", "binary", "nulls", "text", "null", "list"],
)
def test_damage_is_told_in_one_short_line(damage: bytes, tmp_path: Path):
    file = tmp_path / "a.json"
    file.write_bytes(damage)
    with pytest.raises(RecordError, match=r"a\.json.*delete it and rerun") as caught:
        LatencyRecord.load(file)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(file)) + 400


def test_a_folder_or_an_unreadable_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(RecordError, match=r"not a record \(Is a directory\)"):
        LatencyRecord.load(tmp_path)

    def refuse(_: Path, __: int) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("hitsr.records.record.content_of", refuse)
    with pytest.raises(RecordError, match=r"a\.json: not a record \(Permission denied\)"):
        LatencyRecord.load(tmp_path / "a.json")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_no_record_holds_a_number_that_is_none(value: float):
    with pytest.raises(ValidationError, match="finite"):
        LatencyRecord(**{**LATENCY.model_dump(), "samples_ms": (value,)})
    with pytest.raises(ValidationError, match="finite"):
        PictureScore(name="a", psnr_db=value, ssim=1.0)
    with pytest.raises(ValidationError, match="finite"):
        LogLine(step=1, loss=value, learning_rate=1.0, seconds=1)


def test_a_full_disk_leaves_the_old_record_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "a.json"
    LATENCY.save(file)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left") as caught:
            LATENCY.model_copy(update={"samples_ms": (5.0,)}).save(file)
    assert str(file) in str(caught.value)
    assert LatencyRecord.load(file) == LATENCY
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_log_is_read_line_by_line(tmp_path: Path):
    lines = [
        LogLine(step=1, loss=0.1, learning_rate=1e-3, seconds=0.5),
        LogLine(step=2, loss=0.0, learning_rate=1e-3, seconds=1, validation_psnr_db=30.5),
    ]
    file = tmp_path / "log.jsonl"
    file.write_text("".join(line.model_dump_json() + "\n" for line in lines))
    assert read_log(file) == lines
    file.write_text(file.read_text() + '{"step": 3, "lo')
    with pytest.raises(RecordError, match=r"log\.jsonl:3: damaged log line: not JSON .*rerun"):
        read_log(file)


@pytest.mark.parametrize("line", ["{}", "[3]", '{"step": "three"}', '{"step": 1, "lost": 2}'])
def test_a_damaged_log_line_is_told_in_plain_words(tmp_path: Path, line: str):
    file = tmp_path / "log.jsonl"
    file.write_text(line + "\n")
    with pytest.raises(RecordError, match=r"log\.jsonl:1: damaged log line: .*; delete") as error:
        read_log(file)
    assert not any(word in str(error.value) for word in ("pydantic", "http", "LogLine"))


@pytest.mark.parametrize("content", [b"\xff\xfe\0", b"[" * 3000, b'{"step": 1' + b"0" * 400 + b"}"])
def test_a_damaged_log_is_told_in_one_short_line(tmp_path: Path, content: bytes):
    file = tmp_path / "log.jsonl"
    file.write_bytes(content)
    with pytest.raises(RecordError, match=r"log\.jsonl.*rerun") as caught:
        read_log(file)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(file)) + 400


def test_a_run_of_an_entry_has_a_time_for_every_picture():
    (entry,) = (record for record in RECORDS if isinstance(record, NtireRecord))
    run = entry.runs[0].model_copy(update={"times_ms": (1.0, 2.0)})
    with pytest.raises(ValidationError, match="2 values for 1 pictures"):
        NtireRecord.model_validate(entry.model_dump() | {"runs": [run.model_dump()]})


def test_a_name_that_is_there_twice_is_told_in_one_line(tmp_path: Path):
    pictures = [{"name": "a\x1b\nb", "psnr_db": 30, "ssim": 1}] * 2
    record = {
        "schema": "quality/2", "subject": "a", "job_hash": "a", "method": "a", "dataset": "a",
        "provenance": {
            "commit": None, "dirty": None, "versions": {}, "device": "cpu", "device_name": "a",
            "threads": 1, "command": "a", "seconds": 1,
        },
        "scale": 2, "border": 2, "signatures": {}, "pictures": pictures,
    }  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps(record))
    with pytest.raises(RecordError, match=r"pictures: a\\x1b\\nb is there 2 times"):
        QualityRecord.load(tmp_path / "a.json")
