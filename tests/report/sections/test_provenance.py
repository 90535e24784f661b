import json

import pytest
import yaml

from hitsr.report.sections.provenance import provenance_section, to_yaml
from hitsr.specs.config import Config


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
