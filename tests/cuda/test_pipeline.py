"""The pipeline on a GPU, at a tiny budget: preparing, training, scoring, timing, maps, page."""

from pathlib import Path
from runpy import run_path

import torch

from hitsr.records import LatencyRecord, TrainingRecord

TOOLS = run_path(str(Path(__file__).parents[1] / "workflow" / "test_pipeline.py"))


def test_a_run_trains_times_and_reports_on_the_gpu(tmp_path: Path, gpu: torch.device):
    folder, config = TOOLS["copied"](tmp_path / "copy"), TOOLS["TINY"]
    latency = {"scales": [2], "taken_apart": True, "samples": 3, "device": "cuda"}
    latency |= {"warmup": 3, "warmup_seconds": 0.5}
    config = {
        **config,
        "train": {**config["train"], "device": "cuda"},
        "efficiency": {**config["efficiency"], "latency": latency},
        "ablations": [],
    }
    TOOLS["write_config"](folder, config)
    done = TOOLS["snakemake"](folder, "all", "--configfile", "config.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    records = folder / "results/tiny/records"
    timed = [LatencyRecord.load(path) for path in (records / "latency").iterdir()]
    assert {record.provenance.device for record in timed} == {str(gpu)}
    assert {record.launch for record in timed} == {"eager", "graph"}
    weights = folder / "results/tiny/weights"
    trained = [TrainingRecord.load(path) for path in weights.glob("*/record.json")]
    assert trained
    assert {record.provenance.device for record in trained} == {str(gpu)}
    assert (folder / "results/tiny/report/index.html").is_file()
