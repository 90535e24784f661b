import json

import pytest
import yaml

from hitsr.report.courses import SAME_BITS
from hitsr.report.sections.provenance import provenance_section, to_yaml
from hitsr.specs.config import Config, runs


def missing(folder) -> list[str]:
    return provenance_section(folder.evidence()).parts["circumstances"]["not there"]


def test_a_finished_run_says_that_nothing_is_missing(finished):
    assert missing(finished) == ["nothing: every job of this report has its output"]


def test_what_is_missing_is_listed_by_kind_with_batches_and_variants(measured):
    lines = missing(measured)
    assert not any("every job" in line for line in lines)
    assert [line.partition(",")[0] for line in lines] == [
        "train", "restore", "quality", "complexity", "latency",
    ]  # fmt: skip
    assert all("ratios" in line for line in lines)  # only the ablation's variants


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("latency", "hit_sir-x2.cpu.fused.b4", "latency, 1 not run: hit_sir-x2.cpu.fused.b4"),
        ("latency", "hit_sir-x2.cpu.fused.bfloat16", "latency, 1 not run: hit_sir-x2.cpu.fused.bf"),
        ("quality", "hr-x2.test", "quality, 1 not run: hr-x2.test"),
        ("prepare", "test-x2", "prepare, 1 not run: test-x2"),
        ("scaling", "hit_sir-x2.window", "scaling, 1 not run: hit_sir-x2.window"),
        ("scaling_time", "hit_sir-x2.cpu.fused", "scaling-time, 1 not run: hit_sir-x2.cpu.fused"),
    ],
)
def test_each_job_without_output_is_said(configured, kind, name, said):
    latency = {"scales": [2], "batches": [4], "precisions": ["float32", "bfloat16"]}
    folder = configured(efficiency__latency=latency, scaling={"samples": 2}).everything()
    for network in folder.config.networks:
        for load in (
            {"batch": 4},
            {"batch": 4, "precision": "bfloat16"},
            {"precision": "bfloat16"},
        ):
            folder.latency(network, 900.0, **load)
        for over in ("window", "picture"):
            folder.scaling(network, over, 1.0)
        folder.scaling_time(network, 0.1, 1.0)
    assert missing(folder) == ["nothing: every job of this report has its output"]
    folder.output(kind, name).unlink()
    (line,) = missing(folder)
    assert line.startswith(said)


def test_long_lists_are_cut(configured):
    lines = missing(configured(train__seeds=[1, 2, 3]))
    assert lines[1] == (
        "train, 6 not run: swinir_light-x2-s1, swinir_light-x2-s2, swinir_light-x2-s3, "
        "hit_sir-x2-s1 and 2 more"
    )


def test_records_without_hashes_of_their_files_are_counted(full):
    def origin() -> list[str]:
        parts = provenance_section(full.evidence()).parts
        return parts["circumstances"].get("origin unknown", [])

    before = origin()
    path = full.output("quality", "hit_sir-x2-s1.test")
    first, *others = json.loads(path.read_text())["pictures"]
    full.edit("quality", path.stem, pictures=[first | {"sr_sha256": None}, *others])
    (line,) = origin()
    assert "cannot be told" in line
    assert [line] != before


def test_the_configuration_makes_itself_again(measured):
    text = to_yaml(measured.config)
    assert Config.parse(yaml.safe_load(text), "page") == measured.config


def test_a_commit_is_named_only_if_it_made_every_record(full):
    parts = provenance_section(full.evidence()).parts
    assert parts["command"] == (
        "git checkout 0123456789abcdef && snakemake --configfile configs/tiny.yaml"
    )
    path = full.output("complexity", "hit_sir-x2")
    path.write_text(path.read_text().replace('"dirty": false', '"dirty": true'))
    parts = provenance_section(full.evidence()).parts
    assert (parts["commit"], parts["command"]) == (
        None, "snakemake --configfile configs/tiny.yaml",
    )  # fmt: skip


def test_every_record_has_a_row(finished):
    rows = provenance_section(finished.evidence()).parts["records"].groups[0].rows
    assert len(rows) == len(finished.evidence().results.records)


def test_sessions_devices_commits_and_sources_of_gates_are_told(full, new_session, new_gate):
    other = new_session(51, 100, device_name="A GPU", devices=4, commit="f" * 40)
    gate = new_gate(50, 31.0, 30.5, source="the log of its author")
    run = runs(full.config)["hit_sir-x2-s1"]
    full.training(run, sessions=(new_session(1, 50), other), gates=(gate,))
    parts = provenance_section(full.evidence()).parts
    circumstances, sources = parts["circumstances"], parts["sources"]
    assert circumstances["trainings"][-1] == SAME_BITS
    assert any("in two sessions" in line for line in circumstances["trainings"])
    assert circumstances["machine"] == ["4\u00a0× A GPU, 2 threads; A CPU, 2 threads"]
    (line,) = circumstances["doubtful trainings"]
    assert line.startswith("hit_sir-x2-s1: PSNR at step 50 was 30.500 dB")
    assert sources["code"] == ["0123456789, clean; ffffffffff"]
    assert "the log of its author" in sources["quoted from"]
    assert parts["commit"] is None  # that commit alone did not make all of it


def test_clean_trainings_are_not_called_doubtful(finished):
    circumstances = provenance_section(finished.evidence()).parts["circumstances"]
    assert "doubtful trainings" not in circumstances
    assert circumstances["trainings"] == ["2 trainings, each in one session on A CPU"]
