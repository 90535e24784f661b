import math

import pandas as pd
import pytest

from hitsr.base.errors import RecordError
from hitsr.report import collect
from hitsr.report.published import read_published
from hitsr.report.tables import frames, to_csv, with_quotes


def read(folder, name):
    return pd.read_csv(folder.path / "tables" / f"{name}.csv")


def test_collect_writes_a_row_per_measurement(full):
    collect(full.path)
    assert len(read(full, "efficiency")) == 2
    assert len(read(full, "quality")) == 4
    assert len(read(full, "quality_pictures")) == 8
    assert len(read(full, "training")) == 2


def test_what_was_not_measured_is_an_empty_field(folder):
    folder.complexity("hit_sir")
    collect(folder.path)
    row = read(folder, "efficiency").iloc[0]
    assert row.params == 772_064
    assert pd.isna(row.latency_median_ms)
    assert read(folder, "training").empty


def test_gain_is_over_bicubic_of_the_same_set(full):
    collect(full.path)
    gains = read(full, "quality").set_index("run").psnr_over_bicubic_db
    assert gains.to_dict() == pytest.approx(
        {"bicubic-x2": 0.0, "swinir_light-x2-s1": 0.5, "hit_sir-x2-s1": 1.0, "hr-x2": math.inf}
    )


def test_collect_twice_gives_the_same_bytes(full):
    collect(full.path)
    first = {path.name: path.read_bytes() for path in (full.path / "tables").iterdir()}
    collect(full.path)
    assert first == {path.name: path.read_bytes() for path in (full.path / "tables").iterdir()}


def test_collect_refuses_a_damaged_record_and_writes_nothing(full):
    (full.path / "records/quality/bicubic-x2.test.json").write_text("{")
    with pytest.raises(RecordError, match="bicubic"):
        collect(full.path)
    assert not (full.path / "tables").exists()


def test_quotes_stand_beside_measurements_with_their_source(full, reports):
    published = read_published(reports / "published")
    frame = frames(full.evidence().results)["efficiency"]
    quoted = with_quotes("efficiency", frame, published).set_index("network")
    assert quoted.flops_paper_g["hit_sir"] == 209.9
    assert quoted.runtime_paper_a100_ms["swinir_light"] == 1899
    assert "Table 2" in quoted.paper_source["hit_sir"]


def test_whole_numbers_stay_whole_beside_absent_ones(folder):
    folder.complexity("hit_sir")
    folder.latency("swinir_light", 100.0)
    frame = frames(folder.evidence().results)["efficiency"]
    assert "hit_sir,2,1280,720,772064," in to_csv(frame)


def test_gains_are_of_forwards_that_took_turns(folder):
    folder.latency("hit_sir", 1000.0, formulation="paper", session="one")
    folder.latency("hit_sir", 200.0, session="one")
    collect(folder.path)
    table = read(folder, "efficiency").set_index("formulation")
    assert table.gain_median["fused"] == pytest.approx(1000 / 200, rel=0.03)
    assert pd.isna(table.gain_median["paper"])
    folder.latency("hit_sir", 200.0, session="another")
    collect(folder.path)
    assert read(folder, "efficiency").gain_median.isna().all()
