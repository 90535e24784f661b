import json

import pytest

from hitsr.base.errors import RecordError
from hitsr.records import ComplexityRecord, LatencyRecord
from hitsr.report.gather import gather, missing, select
from hitsr.specs.config import runs


def test_everything_written_is_read(full):
    results = gather(full.path)
    assert set(results.complexity) == {("swinir_light", 2), ("hit_sir", 2)}
    assert ("hit_sir", 2, "cpu", "fused") in results.latency
    assert set(results.training) == {"swinir_light-x2-s1", "hit_sir-x2-s1"}
    assert ("bicubic-x2", "test") in results.quality
    assert missing(full.config, results) == {}


def test_an_empty_folder_has_no_records_and_misses_all(folder):
    results = gather(folder.path)
    assert results.records == []
    assert {kind: len(names) for kind, names in missing(folder.config, results).items()} == {
        "training": 2, "complexity": 2, "latency": 2, "quality": 4,
    }  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "records/complexity/hit_sir-x2.json",
        "records/latency/hit_sir-x2.cpu.fused.json",
        "records/quality/bicubic-x2.test.json",
        "weights/hit_sir-x2-s1/record.json",
    ],
)
@pytest.mark.parametrize("damage", ["truncated", "unknown field", "other schema"])
def test_a_damaged_record_is_named(full, name, damage):
    path = full.path / name
    text = path.read_text()
    changes = {"unknown field": {"surprise": 1}, "other schema": {"schema": "complexity/99"}}
    path.write_text(
        text[: len(text) // 2]
        if damage == "truncated"
        else json.dumps(json.loads(text) | changes[damage])
    )
    with pytest.raises(RecordError, match=path.name):
        gather(full.path)


def test_a_damaged_log_line_is_named(full):
    with (full.path / "weights/hit_sir-x2-s1/log.jsonl").open("a") as log:
        log.write('{"step": 125, "lo')
    with pytest.raises(RecordError, match=r"log\.jsonl:5"):
        gather(full.path)


def test_a_training_without_its_log_is_an_error(full):
    (full.path / "weights/hit_sir-x2-s1/log.jsonl").unlink()
    with pytest.raises(RecordError, match="log"):
        gather(full.path)


def test_an_unfinished_training_is_absent(full):
    (full.path / "weights/hit_sir-x2-s1/record.json").unlink()
    assert "hit_sir-x2-s1" not in gather(full.path).training


def test_unlike_signatures_do_not_stand_in_one_table(full):
    run = runs(full.config)["hit_sir-x2-s1"]
    full.quality(run.name, "test", 31.0, run, signatures={"psnr": "psnr|rgb|v1"})
    with pytest.raises(RecordError, match="do not compare"):
        gather(full.path)


def test_scores_of_other_pictures_do_not_stand_in_one_table(full):
    full.quality("bicubic-x2", "test", 30.0, pictures=("brick", "dog"))
    with pytest.raises(RecordError, match="not the same pictures"):
        gather(full.path)


def test_a_renamed_score_is_refused(full):
    path = full.path / "records/quality/hit_sir-x2-s1.test.json"
    path.rename(path.with_name("hit_srf-x2-s1.test.json"))
    with pytest.raises(RecordError, match="hit_srf"):
        gather(full.path)


def test_a_training_of_another_recipe_is_refused(full, configured):
    changed = configured(train__recipe__steps=200).config
    with pytest.raises(RecordError, match="rerun"):
        select(changed, gather(full.path))


def test_records_outside_the_config_are_left_out(full, configured):
    alone = configured(networks=["hit_sir"]).config
    selected = select(alone, gather(full.path))
    assert set(selected.complexity) == {("hit_sir", 2)}
    assert {run for run, _ in selected.quality} == {"bicubic-x2", "hr-x2", "hit_sir-x2-s1"}


def test_latencies_of_their_own_kind_stand_apart(full):
    full.latency("hit_sir", 900.0, batch=4)
    full.latency("hit_sir", 300.0, dtype="bfloat16")
    results = select(full.config, gather(full.path))
    assert {r.setup for r in results.special} == {"cpu.fused.b4", "cpu.fused.bfloat16"}
    assert results.latency["hit_sir", 2, "cpu", "fused"].samples_ms[1] == 400


def test_attribution_and_scaling_are_read_by_what_they_measure(full):
    run = runs(full.config)["hit_sir-x2-s1"]
    full.lam(run, "test", 12.0, 13.0)
    full.scaling("hit_sir", "window", 0.0)
    results = select(full.config, gather(full.path))
    assert set(results.attribution) == {("hit_sir-x2-s1", "test")}
    assert set(results.scaling) == {("hit_sir", "window")}
    assert len(results.records) == len(gather(full.path).records)


def test_maps_in_a_renamed_folder_are_refused(full):
    full.lam(runs(full.config)["hit_sir-x2-s1"], "test", 12.0, 13.0)
    folder = full.path / "lam/hit_sir-x2-s1.test"
    folder.rename(folder.with_name("hit_srf-x2-s1.test"))
    with pytest.raises(RecordError, match="holds hit_sir-x2-s1 on test; rename its folder"):
        gather(full.path)


def test_what_the_config_does_not_name_is_left_out(full, configured):
    full.latency("swinir_light", 900.0, batch=4)
    full.scaling("swinir_light", "picture", 1.0)
    full.lam(runs(full.config)["swinir_light-x2-s1"], "test", 12.0, 13.0)
    alone = select(configured(networks=["hit_sir"]).config, gather(full.path))
    assert (alone.special, alone.scaling, alone.attribution) == ((), {}, {})


def test_maps_taken_unlike_do_not_stand_on_one_sheet(full):
    for run in runs(full.config).values():
        full.lam(run, "test", 12.0, 13.0)
    path = full.path / "lam/hit_sir-x2-s1.test/record.json"
    path.write_text(path.read_text().replace('"steps": 50', '"steps": 40'))
    with pytest.raises(RecordError, match="other settings or windows"):
        gather(full.path)


def test_latencies_that_no_config_asked_for_are_shown_too(full):
    asked = full.path / "records/latency/hit_sir-x2.cpu.fused.json"
    other = LatencyRecord.load(asked).model_copy(update={"formulation": "paper"})
    other.save(full.path / "records/latency/hit_sir-x2.cpu.paper.json")
    found = select(full.config, gather(full.path)).latency
    assert ("hit_sir", 2, "cpu", "paper") in found


def test_an_own_network_stands_with_what_runs_by_default(configured):
    own = configured(own={"mine": {"source": "mine.py:build", "scales": [2]}})
    own.everything()
    for kind, record, name in (
        ("complexity", ComplexityRecord, "mine-x2.json"),
        ("latency", LatencyRecord, "mine-x2.cpu.own.json"),
    ):
        ours = next((own.path / "records" / kind).glob("hit_sir-x2*"))
        changes = {"network": "mine", "subject": "mine-x2", "formulation": None}
        record.load(ours).model_copy(update=changes).save(own.path / "records" / kind / name)
    selected = select(own.config, gather(own.path))
    assert ("mine", 2) in selected.complexity
    assert ("mine", 2, "cpu", "fused") in selected.latency
    assert missing(own.config, selected).keys() == {"quality"}
