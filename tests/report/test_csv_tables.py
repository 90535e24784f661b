import io
import math

import pandas as pd
import pytest
from typer.testing import CliRunner

from hitsr.cli import app
from hitsr.report.csv_tables import collect, frames, to_csv
from hitsr.specs.config import runs


def read(folder, name):
    return pd.read_csv(io.StringIO(to_csv(frames(folder.evidence())[name])))


def test_there_is_a_row_per_measurement(measured):
    lengths = {name: len(read(measured, name)) for name in frames(measured.evidence())}
    assert lengths == {
        "efficiency": 4,  # two networks in two formulations
        "quality": 2 * (2 * 2 + 2),  # sets, networks, seeds, controls
        "quality_pictures": 2 * 2 * (2 * 2 + 2),
        "training": 4,
        "sessions": 4,
        "gates": 0,
        "targets": 1,
        "attribution": 4 * 2,
        "scaling": 2 * 2 * 4,
        "scaling_time": 2 * 2 * 3,
        "throughput": 4,
        "taken_apart": 3,  # steps of one pair, one of them not timed
    }


def test_what_was_not_measured_is_an_empty_field(folder):
    folder.complexity("hit_sir")
    row = read(folder, "efficiency").iloc[0]
    assert row.params == 772_064
    assert pd.isna(row.latency_median_ms)
    assert read(folder, "training").empty


def test_gain_is_over_bicubic_of_the_same_set(finished):
    gains = read(finished, "quality").set_index("run").psnr_over_bicubic_db
    assert gains.to_dict() == pytest.approx(
        {"bicubic-x2": 0.0, "swinir_light-x2-s1": 0.5, "hit_sir-x2-s1": 1.0, "hr-x2": math.inf}
    )


def test_quotes_stand_beside_measurements_with_their_source(finished):
    table = read(finished, "efficiency").set_index("network")
    assert table.flops_paper_g["hit_sir"] == 209.9
    assert table.runtime_paper_a100_ms["swinir_light"] == 1899
    assert "Table 2" in table.paper_source["hit_sir"]


def test_whole_numbers_stay_whole_beside_absent_ones(folder):
    folder.complexity("hit_sir")
    folder.latency("swinir_light", 100.0)
    assert "hit_sir,2,1280,720,772064," in to_csv(frames(folder.evidence())["efficiency"])


def test_gains_are_of_forwards_that_took_turns(configured):
    folder = configured(efficiency__latency={"scales": [2], "formulations": ["paper", "fused"]})
    folder.latency("hit_sir", samples_ms=(2.0, 9.0, 4.0), formulation="paper", session="one")
    folder.latency("hit_sir", samples_ms=(1.0, 3.0, 4.0), session="one")
    table = read(folder, "efficiency").set_index("formulation")
    assert table.gain_median["fused"] == 2
    assert pd.isna(table.gain_median["paper"])
    folder.latency("hit_sir", samples_ms=(1.0, 3.0, 4.0), session="another")
    assert read(folder, "efficiency").gain_median.isna().all()


def test_collecting_lists_jobs_without_a_record(folder):
    folder.complexity("hit_sir")
    assert collect(folder.path).missing == ()
    folder.job("complexity", "swinir_light-x2")
    assert [job.name for job in collect(folder.path).missing] == ["swinir_light-x2"]


def test_collecting_names_every_record_that_cannot_be_used_and_gathers_the_others(full):
    broken = [full.output("complexity", "hit_sir-x2"), full.output("quality", "hr-x2.test")]
    for path in broken:
        path.write_bytes(b"\0\xff")
    (full.path / "jobs/latency/notes.txt").write_text("notes")
    result = CliRunner().invoke(app, ["collect", str(full.path)])
    assert result.exit_code == 1
    for path in (*broken, full.path / "jobs/latency/notes.txt"):
        assert result.stderr.count(str(path)) == 1
    table = pd.read_csv(full.path / "tables/efficiency.csv")
    assert list(table.network) == ["hit_sir", "swinir_light"]
    assert table.params.isna().tolist() == [True, False]


def test_doubts_and_percentiles_stand_beside_the_times(folder):
    folder.complexity("hit_sir", unknown={"mylib::mix": 1})
    folder.latency("hit_sir", samples_ms=(900.0, 400.0, 402.0))
    row = read(folder, "efficiency").iloc[0]
    assert (row.latency_p5_ms, row.latency_p95_ms) == pytest.approx((400.2, 850.2))
    assert row.latency_doubts == "the first forward took 2.2 times as long as the others"
    assert row.flops_doubts == "FLOPs lack what these compute: mylib::mix (1 call)"


def test_sessions_gates_and_doubts_of_trainings_are_told(full, new_session, new_gate):
    sessions = (new_session(1, 50, devices=4), new_session(51, 100, device_name="B CPU"))
    gates = (new_gate(50, 31.0, 30.5), new_gate(75, 31.0, 31.0))
    run = runs(full.config)["hit_sir-x2-s1"]
    full.training(run, sessions=sessions, skipped=(2, 3), gates=gates)
    older = runs(full.config)["swinir_light-x2-s1"]
    full.training(older, sessions=())
    tables = {name: read(full, name).set_index("run") for name in ("training", "sessions", "gates")}
    row = tables["training"].loc[run.name]
    assert (row.sessions, row.skipped_steps) == (2, 2)
    assert row.device_hours == pytest.approx(10 / 3600)
    assert row.validated == "weights"
    assert row.doubts.count(";") == 2
    unknown = ["sessions", "skipped_steps", "doubts"]
    assert tables["training"].loc[older.name][unknown].isna().all()
    assert tables["sessions"].first_step.to_list() == [1, 51]
    assert tables["gates"].is_passed.to_list() == [False, True]
    assert tables["gates"].gate_source.to_list() == ["a log"] * 2


def test_scores_of_doubtful_weights_are_doubtful(full):
    full.training(runs(full.config)["hit_sir-x2-s1"], skipped=(2,))
    doubts = read(full, "quality").set_index("run").doubts.dropna()
    assert list(doubts.index) == ["hit_sir-x2-s1"]
    assert doubts.iloc[0].startswith("1 step was skipped")


def test_ways_to_targets_are_rows_of_pairs(full):
    (row,) = read(full, "targets").itertuples()
    assert (row.baseline, row.conversion, row.scale) == ("swinir_light", "hit_sir", 2)
    assert (row.baseline_steps, row.conversion_steps, row.conversion_seconds) == (100, 75, 7.5)
    assert row.conversion_device_hours == pytest.approx(7.5 / 3600)
