"""From a fixed set of small records the tables come out to the digit, as CSV and as LaTeX.

Where a table is meant to change, read what the failing test has rendered, and copy it here.
"""

import json
import statistics
from pathlib import Path

import pandas as pd
import pytest

from hitsr.specs.config import runs

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def folder(new_folder, new_gate, new_session, tmp_path_factory):
    """Two networks, two seeds, a set of the paper's and one of none; every kind of record.

    One training missed a gate, one went on after a stop.
    """
    folder = new_folder(
        tmp_path_factory.mktemp("golden"),
        data__test=["Set5", "test"],
        train__seeds=[1, 2],
        efficiency__latency={
            "scales": [2],
            "formulations": ["paper", "fused"],
            "batches": [4],
            "precisions": ["float32", "bfloat16"],
        },
        lam={"sets": ["test"], "scales": [2]},
        scaling={"samples": 2},
    )
    for network in folder.config.networks:
        folder.complexity(network)
    for network, paper_ms, fused_ms in (
        ("swinir_light", 2000.5, 1000.125), ("hit_sir", 2664.0, 333.0)
    ):  # fmt: skip
        folder.latency(network, paper_ms, formulation="paper", session=network)
        folder.latency(network, fused_ms, session=network)
    folder.latency("hit_sir", 900.0, batch=4)
    folder.latency("hit_sir", 512.5, precision="bfloat16")
    for over, powers in {"window": (0.8, 0.0), "picture": (1.0, 1.0)}.items():
        for network, power in zip(folder.config.networks, powers):
            folder.scaling(network, over, power)
    for network, power in zip(folder.config.networks, (0.75, 0.0)):
        folder.scaling_time(network, power, 1.0)
    for dataset in folder.config.data.test:
        folder.quality("bicubic-x2", dataset, 30.004)
        folder.quality("hr-x2", dataset, None)
    for name, run in runs(folder.config).items():
        better = 0.25 * run.seed + (0.333 if run.network.name == "hit_sir" else 0)
        fields = {}
        if run.network.name == "hit_sir":
            fields["gates"] = (new_gate(50, 30.75, 30 + better),)
            if run.seed == 2:
                fields["sessions"] = (new_session(1, 50, devices=2), new_session(51, 100))
        folder.training(run, gain=better, **fields)
        folder.lam(run, "test", 9.5 + better, 12.25 + 2 * better)
        for dataset in folder.config.data.test:
            folder.quality(name, dataset, 37.1 + better, ssim=0.95 + better / 100)
    return folder


@pytest.fixture(scope="module")
def rendered(folder) -> Path:
    return folder.render()


def test_every_table_comes_out_to_the_digit(rendered):
    expected = {path.name: path.read_text() for path in GOLDEN.iterdir()}
    found = {
        path.name: path.read_text()
        for path in rendered.iterdir()
        if path.suffix in (".csv", ".tex")
    }
    # The ledger's own tests hold its claims, whose words may change without any number.
    assert set(found) - {"claims.csv", "claims.tex"} == set(expected)
    for name, text in expected.items():
        assert found[name] == text, f"{rendered / name} is not as golden/{name}"


def test_scores_are_the_means_of_the_records(folder, rendered):
    table = pd.read_csv(rendered / "quality.csv").set_index(["run", "dataset"])
    for path in (folder.path / "records/quality").glob("hit_sir-x2-s*.json"):
        pictures = json.loads(path.read_text())["pictures"]
        row = table.loc[tuple(path.stem.split("."))]
        assert row.psnr_db == pytest.approx(statistics.fmean(p["psnr_db"] for p in pictures))
        assert row.ssim == pytest.approx(statistics.fmean(p["ssim"] for p in pictures))


def test_times_are_the_medians_of_the_records(folder, rendered):
    table = pd.read_csv(rendered / "efficiency.csv").set_index(["network", "formulation"])
    samples = json.loads(
        (folder.path / "records/latency/swinir_light-x2.cpu.fused.json").read_text()
    )["samples_ms"]
    assert table.latency_median_ms["swinir_light", "fused"] == statistics.median(samples)
