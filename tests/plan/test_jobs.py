"""Job files: they say all, and their hashes say what is measured and nothing else."""

from pathlib import Path

import pytest

from hitsr.base.errors import SpecError
from hitsr.plan.batches import CONFIG
from hitsr.plan.jobs import TrainJob, read_job
from hitsr.plan.planning import make_plan


def test_a_job_is_what_its_file_says(planned, tmp_path: Path):
    plan = planned({"scaling.samples": 2, "data.root": 'data/it\'s "odd" \u2028\x7f\U0001f600'})
    kinds = {job.kind: job for job in plan.jobs}
    assert len(kinds) == 9
    for job in kinds.values():
        file = tmp_path / f"{job.kind}.json"
        job.save(file)
        read = read_job(file, job.kind)
        assert read == job.model_copy(update={"asked_by": ()})
        assert read.hash == job.hash


def test_a_file_that_says_the_same_is_left_alone(planned, tmp_path: Path):
    first, second = planned().jobs[:2]
    file = tmp_path / "job.json"
    first.save(file)
    before = file.stat().st_mtime_ns
    first.save(file)
    assert file.stat().st_mtime_ns == before
    second.save(file)
    assert read_job(file).hash == second.hash


def test_a_hash_leaves_out_paths_names_askers_and_where_a_training_runs(planned):
    before = planned()
    after = planned(
        {
            **{"name": "elsewhere", "data.root": "/data", "train.device": "cuda"},
            **{"train.graph": True, "train.gpus": "auto"},
        }
    )
    assert [job.hash for job in before.jobs] == [job.hash for job in after.jobs]
    assert before.jobs[0].to_json() != after.jobs[0].to_json()


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"train.recipe.learning_rate": 2e-3}, "train"),
        ({"train.compile": True}, "train"),
        ({"efficiency.latency.device": "cuda"}, "latency"),
        ({"efficiency.latency.samples": 9}, "latency"),
        ({"lam.crop": 32}, "lam"),
    ],
)
def test_a_hash_follows_what_is_measured(planned, change: dict, kind: str):
    before, after = (
        {job.hash for job in plan.asked_by(CONFIG) if job.kind == kind}
        for plan in (planned(), planned(change))
    )
    assert before
    assert before.isdisjoint(after)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "no such file"),
        ("{", "not JSON at line 1 column 2"),
        ("[" * 3000, "nested too deeply"),
        ('{"kind": "train", "kind": "train"}', "key 'kind' is given twice; keep one"),
        ("[]", "kind: must be one of prepare, train"),
        ('{"schema": "quality/2"}', "kind: must be one of prepare, train"),
        ('{"kind": "quality", "name": "a"}', "field 'subject' is missing"),
    ],
)
def test_a_file_that_is_no_job_is_told(text: str | None, told: str, tmp_path: Path):
    file = tmp_path / "job.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(
        SpecError, match=f"job.json: not a job file of this version, rerun `snakemake`: {told}"
    ) as error:
        read_job(file)
    assert "pydantic" not in str(error.value)


def test_a_byte_order_mark_is_skipped(planned, tmp_path: Path):
    job = next(job for job in planned().jobs if job.kind == "quality")
    (tmp_path / "job.json").write_text(f"\ufeff{job.to_json()}", encoding="utf-8")
    assert read_job(tmp_path / "job.json").hash == job.hash


def test_a_job_for_another_verb_is_told(planned, tmp_path: Path):
    job = next(job for job in planned().jobs if job.kind == "quality")
    job.save(tmp_path / "job.json")
    with pytest.raises(SpecError, match="is a job for `hitsr quality`, not for `hitsr train`"):
        read_job(tmp_path / "job.json", "train")


def training(planned, gpus: int | str, device: str = "cuda", parts: int = 6) -> TrainJob:
    recipe = {"steps": 2, "batch": parts, "parts": parts, "patch": 8, "learning_rate": 1e-3}
    changes = {"train.gpus": gpus, "train.device": device, "train.recipe": recipe}
    job = planned(changes).find("results/tiny/weights/hit_sir-x2-s1/record.json")
    assert isinstance(job, TrainJob)
    return job


@pytest.mark.parametrize(("there", "taken"), [(0, 1), (1, 1), (2, 2), (5, 3), (8, 6)])
def test_a_training_takes_all_gpus_that_divide_its_parts(planned, there: int, taken: int):
    assert training(planned, "auto").processes("cuda", there) == taken
    assert training(planned, "auto", parts=1).processes("cuda", there) == 1


def test_automatically_one_device_stays_one(planned):
    for device in ("cpu", "mps", "cuda:1"):
        kind = device.partition(":")[0]
        assert training(planned, "auto", device).processes(kind, 4) == 1


def test_gpus_that_are_asked_for_must_be_there(planned):
    assert training(planned, 3).processes("cuda", 3) == 3
    assert training(planned, 3, "cpu").processes("cpu", 0) == 3
    with pytest.raises(
        SpecError, match="hit_sir-x2-s1: gpus: 3, but torch finds 2; write gpus: au"
    ):
        training(planned, 3).processes("cuda", 2)
    with pytest.raises(SpecError, match="gpus: 3, but device cuda:1 is one GPU; write gpus: 1, or"):
        training(planned, 3, "cuda:1").processes("cuda", 4)
    with pytest.raises(
        SpecError, match=r"x2-s1: train\.gpus: 4 does not divide the recipe's parts, 6"
    ):
        training(planned, 4)


def test_a_file_keeps_its_stamp_where_only_the_results_folder_has_another_name(
    planned, tmp_path: Path
):
    def saved(changes: dict, results: Path) -> dict[str, int]:
        """When the job files say that they were written."""
        plan = make_plan(planned({"ablations": [], **changes}).config, {}, results)
        stamps = {}
        for job in plan.jobs:
            file = plan.layout.job(job.kind, job.name)
            job.save(file)
            assert job.is_saved(file)
            stamps[f"{job.kind} {job.name}"] = file.stat().st_mtime_ns
        return stamps

    before = saved({}, tmp_path / "first")
    (tmp_path / "first").rename(tmp_path / "second")
    assert saved({}, tmp_path / "second") == before
    for changes, kind in (
        ({"train.recipe.learning_rate": 2e-3}, "train"),
        ({"data.root": "elsewhere"}, "prepare"),
    ):
        after = saved(changes, tmp_path / "second")
        assert {name.split()[0] for name in before if before[name] != after[name]} >= {kind}
    assert before["complexity hit_sir-x2"] == after["complexity hit_sir-x2"]
