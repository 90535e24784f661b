"""The verb that predicts an entry to the NTIRE challenge, as a user meets it."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from hitsr.base.errors import HitsrError
from hitsr.cli import app
from hitsr.data.images import write_png
from hitsr.records import NtireRecord

RUNNER = CliRunner()
OWN = """
import os
from pathlib import Path
from torch import nn

def build(scale):
    with Path(__file__).with_name("processes").open("a") as file:
        print(os.getpid(), file=file)
    return nn.Sequential(nn.Conv2d(3, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0)
    for name, (height, width) in {"a": (20, 24), "b": (16, 30)}.items():
        for part, factor in (("lr", 1), ("hr", 4)):
            shape = (height * factor, width * factor, 3)
            write_png(
                tmp_path / part / f"{name}.png", noise.integers(0, 256, shape, dtype=np.uint8)
            )
    (tmp_path / "mine.py").write_text(OWN)
    return tmp_path


def ntire(folder: Path, *arguments: str, network: str = "mine.py:build") -> str:
    named = f"{folder}/{network}" if ".py" in network else network
    command = ("ntire", named, "--lr", f"{folder}/lr", "--device", "cpu", *arguments)
    result = RUNNER.invoke(app, command)
    if result.exit_code:
        assert isinstance(result.exception, HitsrError), (result.output, result.exception)
        return str(result.exception)
    return result.stdout


def test_one_picture_has_no_others(folder: Path):
    (folder / "lr" / "b.png").unlink()
    lines = ntire(folder, "--runs", "1").splitlines()
    assert ": 1 picture, " in lines[0]
    first, others, psnr = lines[2].split()[2:5]
    assert float(first) > 0
    assert (others, psnr) == ("-", "-")


def test_a_baseline_that_is_not_there_is_told_first(folder: Path):
    told = ntire(folder, "--baseline", f"{folder}/absent.json")
    assert told.endswith("absent.json: no such file")


def test_ones_own_network_has_no_other_formulation(folder: Path):
    assert ntire(folder, "--formulation", "released").endswith("leave out --formulation")


def test_every_run_is_a_new_process_and_everything_is_a_mean(folder: Path):
    out = folder / "record.json"
    shown = ntire(folder, "--hr", f"{folder}/hr", "--runs", "3", "--out", str(out)).splitlines()
    record = NtireRecord.load(out)
    used = (folder / "processes").read_text().split()
    assert len(set(used[1:])) == len(used[1:]) == 3  # the first only counts
    assert len(record.runs) == 3
    assert [picture.lr_size for picture in record.pictures] == [(24, 20), (30, 16)]
    pixels = 256 * 256
    assert (record.params, record.flops) == (28 * 48, pixels * 27 * 48)
    assert (record.activations, record.convolutions) == (pixels * 48, 1)
    times_ms = [time for run in record.runs for time in run.times_ms]
    head, row = (line.split("  ") for line in shown[-2:])
    values = dict(
        zip([cell.strip() for cell in head if cell], [cell.strip() for cell in row if cell])
    )
    assert float(values["Val Time [ms]"]) == pytest.approx(np.mean(times_ms), abs=0.006)
    assert float(values["Val PSNR"]) == pytest.approx(np.mean(record.runs[0].psnr_db), abs=0.006)
    assert (values["FLOPs [G]"], values["Conv"]) == ("0.08", "1")


def test_a_network_that_equals_the_baseline_has_its_score(folder: Path):
    out = folder / "baseline.json"
    ntire(folder, "--runs", "1", "--out", str(out))
    data = json.loads(out.read_text())
    faster = json.loads(ntire(folder, "--runs", "1", "--json"))
    data["runs"][0]["times_ms"] = faster["runs"][0]["times_ms"]
    shown = ntire(folder, "--runs", "1", "--baseline", str(out)).splitlines()[-1]
    assert "FLOPs 7.389, parameters 7.389" in shown
    runtime, final = (float(part.split()[-1]) for part in shown.partition(": ")[2].split(", ")[::3])
    assert final == pytest.approx(0.7 * runtime + 0.3 * math.exp(2), rel=1e-3)
    write_png(folder / "lr" / "c.png", np.zeros((8, 8, 3), dtype=np.uint8))
    shown = ntire(folder, "--runs", "1", "--baseline", str(out)).splitlines()[-1]
    assert shown == "scores: none, as the baseline was measured on other pictures"


def test_networks_of_hitsr_need_weights_to_be_scored(folder: Path):
    told = ntire(folder, "--hr", f"{folder}/hr", network="hit_sir")
    assert told == "hit_sir: PSNR needs --weights FILE; or leave out --hr"
