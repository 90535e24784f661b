import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from hitsr.base.files import sha256
from hitsr.records import AttributionSettings, DatasetRecord, LatencyRecord, QualityRecord
from hitsr.report.csv_tables import collect
from hitsr.report.doubts import unlike_set
from hitsr.report.gather import _read, gather, gather_folder
from hitsr.specs.config import runs


def missing(folder) -> list[str]:
    """Kind and name of each job without output."""
    return [f"{job.kind} {job.name}" for job in gather(folder.plan).missing]


def refused(folder, kind, name) -> str:
    """Why the record of a job is not used; no other is refused, or brings the page down."""
    results = gather(folder.plan)
    output = folder.output(kind, name)
    assert list(results.reasons) == [output]
    assert output in {job.output for job in results.missing}
    assert output not in {result.job.output for result in results.done}
    return results.reasons[output]


def test_a_finished_folder_misses_nothing(finished):
    results = gather(finished.plan)
    assert results.missing == ()
    asked = {job.output for job in finished.plan.reported if job.kind != "restore"}
    assert {result.job.output for result in results.done} == asked
    # Other ablations, and latencies at other scales, were not asked for.
    assert len(finished.plan.jobs) > len(finished.plan.reported)


def test_what_a_training_reached_at_its_gates_is_no_contradiction(full, new_gate):
    run = runs(full.config)["hit_sir-x2-s1"]
    full.training(run, gates=(new_gate(50, 31.0, 30.5),))
    assert gather(full.plan).reasons == {}


def test_an_empty_folder_has_no_records_and_misses_all(folder):
    results = gather(folder.plan)
    assert results.records == []
    assert list(results.missing) == folder.plan.reported


def test_batches_precisions_and_ablations_are_missed_too(configured):
    folder = configured(
        ablations=["window_schedule"],
        efficiency__latency={"scales": [2], "batches": [4], "precisions": ["bfloat16"]},
    ).everything()
    found = missing(folder)
    for name in ("b4.bfloat16", "bfloat16"):
        assert f"latency hit_sir-x2.cpu.fused.{name}" in found
    variants = [
        job for job in folder.plan.asked_by("window_schedule") if "config" not in job.asked_by
    ]
    assert {job.kind for job in variants} == {
        "train",
        "restore",
        "quality",
        "complexity",
        "latency",
    }
    assert {f"{job.kind} {job.name}" for job in variants} <= set(found)


@pytest.mark.parametrize("kind", ["complexity", "latency", "quality", "train", "prepare"])
@pytest.mark.parametrize("damage", ["truncated", "unknown field", "other schema"])
def test_a_damaged_record_is_named(full, kind, damage):
    job = next(j for j in full.plan.reported if j.kind == kind)
    if damage == "truncated":
        text = job.output.read_text()
        job.output.write_text(text[: len(text) // 2])
    else:
        changes = {"unknown field": {"surprise": 1}, "other schema": {"schema": "complexity/99"}}
        full.edit(kind, job.name, **changes[damage])
    assert str(job.output) in refused(full, kind, job.name)


def test_a_damaged_log_line_is_named(full):
    with (full.path / "weights/hit_sir-x2-s1/log.jsonl").open("a") as log:
        log.write('{"step": 125, "lo')
    full.edit("train", "hit_sir-x2-s1", log_sha256=None)  # made before records named their logs
    assert "log.jsonl:5" in refused(full, "train", "hit_sir-x2-s1")


def test_the_log_of_another_training_is_not_used(full):
    other = full.path / "weights/swinir_light-x2-s1/log.jsonl"
    (full.path / "weights/hit_sir-x2-s1/log.jsonl").write_bytes(other.read_bytes())
    told = "hit_sir-x2-s1/log.jsonl: not the log of the training"
    assert told in refused(full, "train", "hit_sir-x2-s1")
    assert any(told in problem for problem in collect(full.path).problems)


def test_a_training_without_its_log_is_not_used(full):
    (full.path / "weights/hit_sir-x2-s1/log.jsonl").unlink()
    assert "log.jsonl: no such file" in refused(full, "train", "hit_sir-x2-s1")


# Each record by its place, and another that is of its kind: of another network, formulation,
# batch, set, cost, or seed.
@pytest.mark.parametrize(
    ("kind", "place", "copied"),
    [
        ("complexity", "swinir_light-x2", "hit_sir-x2"),
        ("latency", "swinir_light-x2.cpu.fused", "hit_sir-x2.cpu.fused"),
        ("latency", "hit_sir-x2.cpu.fused", "hit_sir-x2.cpu.paper"),
        ("latency", "hit_sir-x2.cpu.fused", "hit_sir-x2.cpu.fused.b4"),
        ("quality", "swinir_light-x2-s1.test", "hit_sir-x2-s1.test"),
        ("quality", "hit_sir-x2-s1.test", "hit_sir-x2-s1.Set5"),
        ("scaling", "swinir_light-x2.window", "hit_sir-x2.window"),
        ("scaling", "hit_sir-x2.window", "hit_sir-x2.picture"),
        ("scaling_time", "swinir_light-x2.cpu.fused", "hit_sir-x2.cpu.fused"),
        ("lam", "swinir_light-x2-s1.test", "hit_sir-x2-s1.test"),
        ("train", "hit_sir-x2-s1", "hit_sir-x2-s2"),
        ("prepare", "test-x2", "Set5-x2"),
    ],
)
def test_a_record_copied_over_another_is_refused_by_name(measured, kind, place, copied):
    path = measured.output(kind, place)
    original = path.read_bytes()
    try:
        shutil.copy(measured.output(kind, copied), path)
        why = refused(measured, kind, place)
    finally:
        path.write_bytes(original)
    assert str(path) in why
    assert f"holds {json.loads(measured.output(kind, copied).read_text())['subject']}" in why


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"efficiency__output_size": [640, 480]}, "records/complexity/"),
        ({"efficiency__latency": {"scales": [2], "samples": 7}}, "records/latency/"),
        ({"train__recipe__steps": 200}, "weights/swinir_light-x2-s1/record"),
        ({"train__changes": {"depths": [6, 6]}}, "weights/swinir_light-x2-s1/record"),
    ],
)
def test_records_of_another_config_are_refused(full, configured, changes, refused):
    changed = configured(**changes)
    assert changed.path == full.path
    results = gather(changed.plan)
    assert any(refused in str(output) for output in results.reasons)
    assert not any(refused in str(result.job.output) for result in results.done)


def test_maps_of_other_weights_are_refused(configured):
    folder = configured(lam={"sets": ["test"], "scales": [2]})
    for name, run in runs(folder.config).items():
        folder.training(run)
        folder.lam(run, "test", 9.0, 9.0, weights_sha256=("cd" if "hit" in name else "ab") * 32)
    assert "maps of other weights" in refused(folder, "lam", "hit_sir-x2-s1.test")


def test_maps_taken_unlike_do_not_stand_on_one_sheet(configured):
    folder = configured(lam={"sets": ["test"], "scales": [2]})
    for steps, run in zip((50, 40), runs(folder.config).values()):
        folder.lam(run, "test", 12.0, 13.0, settings=AttributionSettings(steps=steps))
    why = refused(folder, "lam", f"{run.name}.test")
    assert "steps is 40, but its job asks for 50" in why
    folder.lam(run, "test", 12.0)  # one window instead of two
    assert "windows" in refused(folder, "lam", f"{run.name}.test")


def test_unlike_signatures_do_not_stand_in_one_table(full):
    full.quality("hit_sir-x2-s1", "test", 31.0, signatures={"psnr": "psnr|rgb|v1"})
    why = refused(full, "quality", "hit_sir-x2-s1.test")
    assert "scored as 'psnr|rgb|v1', where most beside it have 'psnr|y|border:scale|v1'" in why


def test_a_metric_that_loads_for_one_record_only_keeps_the_others_in_one_table(full):
    scored = gather(full.plan).of(QualityRecord)[0].signatures
    more = {**scored, "lpips": "lpips|input:rgb"}
    full.quality("hit_sir-x2-s1", "test", 31.0, signatures=more)
    assert more in [record.signatures for record in gather(full.plan).of(QualityRecord)]


def test_scores_of_other_pictures_do_not_stand_in_one_table(full):
    full.quality("bicubic-x2", "test", 30.0, pictures=("brick", "dog"))
    assert "not the pictures that test" in refused(full, "quality", "bicubic-x2.test")
    full.output("prepare", "test-x2").unlink()  # then most of the scores decide
    assert "pictures ['brick', 'dog']" in refused(full, "quality", "bicubic-x2.test")


@pytest.mark.usefixtures("full")
def test_records_outside_the_config_are_left_out(configured):
    alone = gather(configured(networks=["hit_sir"]).plan)
    assert not any("swinir" in result.record.subject for result in alone.done)
    assert any(result.record.subject == "hit_sir-x2-s1" for result in alone.done)


def test_times_of_other_devices_stand_in_for_those_asked_for(folder):
    folder.latency("hit_sir", 900.0, device_name="NVIDIA H100")
    results = gather(folder.plan)
    (record,) = results.of(LatencyRecord)
    assert record.provenance.device_name == "NVIDIA H100"
    assert [job.name for job in results.missing if job.kind == "latency"] == [
        "swinir_light-x2.cpu.fused"
    ]


def test_a_folder_that_was_moved_is_read_where_it_lies(finished, tmp_path):
    copy = shutil.copytree(finished.path, tmp_path / "moved")
    found = gather_folder(copy)
    assert {r.subject for r in found.records} == {r.subject for r in gather(finished.plan).records}
    assert all(job.output.is_relative_to(copy) for job, _, _ in found.done)


def test_a_link_to_nothing_and_a_folder_without_access_are_told(full, monkeypatch):
    path = full.output("complexity", "hit_sir-x2")
    path.rename(path.with_suffix(".bak"))
    path.symlink_to("nowhere.json")
    assert "No such file" in gather(full.plan).reasons[path]
    path.unlink()
    path.with_suffix(".bak").rename(path)

    def refuse(self: Path, *_: object) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(os, "lstat", refuse)
    assert "Permission denied" in _read(full.plan.layout, [full.plan.find(path)]).reasons[path]


# A record of the right job in which a field was changed, and what is said of it.
SWAPPED = [
    ("quality", "hit_sir-x2-s1.test", {"border": 4}, "border is 4, but its job asks for 2"),
    ("quality", "hit_sir-x2-s1.test", {"method": "bicubic"}, "method is 'bicubic'"),
    ("quality", "hit_sir-x2-s1.test", {"dataset": "Set5"}, "dataset is 'Set5'"),
    ("quality", "hit_sir-x2-s1.test", {"subject": "hit_sir-x2-s2"}, "subject is"),
    ("latency", "hit_sir-x2.cpu.fused", {"output_size": [128, 72]}, "output_size is (128, 72)"),
    ("latency", "hit_sir-x2.cpu.fused", {"formulation": "paper"}, "formulation is 'paper'"),
    ("latency", "hit_sir-x2.cpu.fused", {"batch": 4}, "batch is 4"),
    ("latency", "hit_sir-x2.cpu.fused", {"network": "swinir_light"}, "network is"),
    ("complexity", "hit_sir-x2", {"output_size": [128, 72]}, "output_size is (128, 72)"),
    ("complexity", "hit_sir-x2", {"scale": 3}, "scale is 3"),
    ("scaling", "hit_sir-x2.window", {"over": "picture"}, "over is 'picture'"),
    ("scaling_time", "hit_sir-x2.cpu.fused", {"formulation": "paper"}, "formulation is 'paper'"),
    ("lam", "hit_sir-x2-s1.test", {"dataset": "Set5"}, "dataset is 'Set5'"),
    ("prepare", "test-x2", {"scale": 4}, "scale is 4"),
    ("complexity", "hit_sir-x2", {"params": 0}, "params"),
    ("complexity", "hit_sir-x2", {"flops_by_operator": {"conv": 1}}, "operators sum to 1"),
    ("latency", "hit_sir-x2.cpu.fused", {"samples_ms": [-1.0]}, "samples_ms.0"),
]


@pytest.mark.parametrize(("kind", "name", "changes", "said"), SWAPPED)
def test_a_record_that_says_otherwise_than_its_job_is_not_used(measured, kind, name, changes, said):
    path = measured.output(kind, name)
    original = path.read_bytes()
    try:
        measured.edit(kind, name, **changes)
        assert said in refused(measured, kind, name)
    finally:
        path.write_bytes(original)


# What is written into the record of the first picture, or window.
@pytest.mark.parametrize(
    ("kind", "place", "changes", "said"),
    [
        ("quality", "pictures", {"psnr_db": 1000.0}, "pictures.0.psnr_db"),
        ("quality", "pictures", {"psnr_db": 140.0}, "more than the 102 dB"),
        ("quality", "pictures", {"psnr_db": -1.0}, "pictures.0.psnr_db"),
        ("quality", "pictures", {"psnr_db": None}, "psnr_db is infinite"),
        ("quality", "pictures", {"ssim": 1.5}, "pictures.0.ssim"),
        ("quality", "pictures", {"name": "cat"}, "cat is there 2 times"),
        ("quality", "pictures", {"name": "dog"}, "not the pictures that test"),
        ("quality", "pictures", {"hr_sha256": "ef" * 32}, "another HR than"),
        ("quality", "pictures", {"sr_sha256": "ef" * 32}, "brick.png changed since"),
        ("lam", "windows", {"diffusion_index": 101.0}, "windows.0.diffusion_index"),
        ("lam", "windows", {"lr_sha256": "ef" * 32}, "another LR picture"),
        ("lam", "windows", {"channels_sha256": "ef" * 32}, "brick.4-4-16.npy changed since"),
        ("lam", "windows", {"overlay_sha256": "ef" * 32}, "brick.4-4-16.png changed since"),
        ("lam", "windows", {"overlay": "../../x.png"}, "does not lie beside the record"),
        ("lam", "windows", {"overlay": "x.png"}, "its map x.png is not there"),
        ("lam", "windows", {"corner": [1, 1]}, "windows"),
        ("lam", "windows", {"picture": "cat"}, "is there twice"),
    ],
)
def test_what_pictures_cannot_have_or_do_not_have_is_not_used(measured, kind, place, changes, said):
    path = measured.output(kind, "hit_sir-x2-s1.test")
    original = path.read_bytes()
    first, *others = json.loads(original)[place]
    try:
        measured.edit(kind, "hit_sir-x2-s1.test", **{place: [first | changes, *others]})
        assert said in refused(measured, kind, "hit_sir-x2-s1.test")
    finally:
        path.write_bytes(original)


@pytest.mark.parametrize(("method", "is_told"), [("hit_sir", True), ("bicubic", False)])
def test_sr_that_was_the_hr_picture_when_it_was_scored_is_told(measured, method, is_told):
    record = QualityRecord.load(measured.output("quality", "hit_sir-x2-s1.test"))
    prepared = DatasetRecord.load(measured.output("prepare", "test-x2"))
    first, *others = record.pictures
    same = {"psnr_db": None, "ssim": 1.0, "sr_sha256": first.hr_sha256}
    pictures = (first.model_copy(update=same), *others)
    record = record.model_copy(update={"method": method, "pictures": pictures})
    told = unlike_set(record, {("test", 2): prepared})
    assert ("is the HR picture itself" in told) == is_told


def test_a_picture_that_was_replaced_after_it_was_scored_costs_its_scores(full):
    folder = full.output("restore", "hit_sir-x2-s1.test")
    truth = full.config.data.root / "test/HR/cat.png"
    shutil.copy(truth, folder / "brick.png")
    assert f"{folder / 'brick.png'} changed since" in refused(full, "quality", folder.name)
    (folder / "cat.png").touch()  # it is still that picture
    assert "and 1 more" not in refused(full, "quality", folder.name)


def test_pictures_that_were_not_kept_leave_their_scores(full):
    shutil.rmtree(full.output("restore", "hit_sir-x2-s1.test"))
    results = gather(full.plan)
    assert not results.reasons
    assert "hit_sir-x2-s1" in {record.subject for record in results.of(QualityRecord)}


def test_weights_that_were_swapped_cost_all_that_was_made_of_them(configured):
    folder = configured(lam={"sets": ["test"], "scales": [2]}).everything()
    weights = {
        run.name: folder.plan.layout.weights(run.name) for run in runs(folder.config).values()
    }
    for name, path in weights.items():
        path.write_bytes(name.encode())
        folder.edit("train", name, weights_sha256=sha256(path))
        folder.lam(runs(folder.config)[name], "test", 9.0, 9.0, weights_sha256=sha256(path))
    assert not gather(folder.plan).reasons
    weights["hit_sir-x2-s1"].write_bytes(weights["swinir_light-x2-s1"].read_bytes())
    results = gather(folder.plan)
    assert {(job.kind, job.name) for job in results.missing if job.output in results.reasons} == {
        ("train", "hit_sir-x2-s1"),
        ("quality", "hit_sir-x2-s1.test"),
        ("lam", "hit_sir-x2-s1.test"),
    }
    assert all("changed" in reason for reason in results.reasons.values())


@pytest.mark.parametrize(
    "made", [{"device_name": "B CPU"}, {"threads": 8}, {"device": "cuda:0"}], ids=str
)
def test_times_of_another_machine_do_not_stand_beside_the_others(full, made):
    path = full.output("latency", "hit_sir-x2.cpu.fused")
    provenance = json.loads(path.read_text())["provenance"]
    full.edit("latency", "hit_sir-x2.cpu.fused", provenance=provenance | made)
    why = refused(full, "latency", "hit_sir-x2.cpu.fused")
    assert str(next(iter(made.values()))).partition(":")[0] in why
    assert full.evidence().facts.find("latency_ms", "hit_sir") == []


def test_why_a_job_is_missing_is_said_of_what_it_waits_for_too(full):
    broken = full.output("train", "hit_sir-x2-s1")
    broken.write_text("{")
    full.output("quality", "hit_sir-x2-s1.test").unlink()
    shutil.rmtree(full.output("restore", "hit_sir-x2-s1.test"))
    results = gather(full.plan)
    missing = {(job.kind, job.name): results.why(job) for job in results.missing}
    assert set(missing) == {
        ("train", "hit_sir-x2-s1"),
        ("restore", "hit_sir-x2-s1.test"),
        ("quality", "hit_sir-x2-s1.test"),
    }
    assert all(str(broken) in why for why in missing.values())


# A file in a folder of results, and what is said of it.
STRAYS = [
    ("jobs/latency/copy.json", "copy of the job"),
    ("jobs/quality/hit_sir-x2.cpu.fused.json", "copy of the job"),
    ("jobs/latency/notes.txt", "not a job file"),
    ("jobs/latency/empty.json", "not a job file"),
    ("jobs/latency/folder.json/", "Is a directory"),
    ("jobs/latency/deep.json", "not a job file"),
    ("records/latency/copy.json", "belongs to no job"),
    ("records/quality/notes.txt", "belongs to no job"),
    ("weights/other-x2-s1/record.json", "belongs to no job"),
    ("lam/other/record.json", "belongs to no job"),
]


@pytest.mark.parametrize(("place", "said"), STRAYS)
def test_a_stray_file_is_named_and_left_out(full, place, said):
    path = full.path / place
    if place.endswith("/"):
        path.mkdir(parents=True)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = "jobs" if place.startswith("jobs") else "records"
        other = full.path / kind / "latency/hit_sir-x2.cpu.fused.json"
        texts = {"notes": "notes", "empty": "", "deep": "[" * 3000 + "]" * 3000}
        path.write_text(texts.get(path.stem, other.read_text()))
    for results in (gather(full.plan), gather_folder(full.path)):
        (stray,) = results.strays
        assert str(path) in stray
        assert said in stray
        assert not results.reasons
        outputs = [result.job.output for result in results.done]
        assert len(outputs) == len({*outputs})


@pytest.mark.parametrize(
    "place",
    ["jobs/latency/._a.json", "jobs/.b.json", "records/latency/.c.json", "lam/.d/record.json"],
)
def test_hidden_files_are_nobodys_concern(full, place):
    path = full.path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x00\x05\x16\x07")
    for results in (gather(full.plan), gather_folder(full.path)):
        assert not results.problems
