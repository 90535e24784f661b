"""The pipeline as users run it: dry runs, and one real run on a tiny config, in a copy of the
workflow's files."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from hitsr.models.backbone import create
from hitsr.records import LatencyRecord

REPOSITORY = Path(__file__).parents[2]
TINY: dict[str, Any] = {
    "name": "tiny",
    "title": "A run of seconds",
    "networks": ["swinir_light", "hit_sir"],
    "own": {"mine": {"source": "examples/own_network.py:build", "scales": [2]}},
    "data": {
        "root": "data/tiny",
        "source": "wheels",
        "train": "train",
        "validation": "test",
        "test": ["test"],
    },
    "train": {
        "scales": [2],
        "patch": {"depths": [2], "width": 24, "windows.base": 4, "windows.ratios": [1, 2]},
        "recipe": {
            "steps": 4,
            "batch": 1,
            "patch": 8,
            "learning_rate": 1e-3,
            "milestones": [2],
            "log_every": 2,
            "validate_every": 4,
        },
    },
    "efficiency": {
        "scales": [2],
        "output_size": [48, 32],
        "latency": {
            "scales": [2],
            "formulations": ["paper", "fused"],
            "warmup": 0,
            "samples": 1,
            "device": "cpu",
        },
    },
    "lam": {"sets": ["test"], "scales": [2], "crop": 48},
    "scaling": {"over": ["window"]},
    "ablations": ["softmax"],
}
# Released weights, and nothing trained.
UNTRAINED: dict[str, Any] = {
    **{key: TINY[key] for key in ("title", "efficiency", "networks")},
    "name": "untrained",
    "data": {"root": "data/tiny", "source": "wheels", "test": ["test"]},
    "weights": {"root": "weights", "scales": [4]},  # whose LR pictures are the smallest
}


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    tools = Path(sys.executable).parent
    return subprocess.run(
        [tools / "snakemake", "--cores", "2", *arguments],
        cwd=folder,
        env={**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=600,
    )


def jobs(dry_run: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """How many jobs of each rule a dry run announces."""
    assert dry_run.returncode == 0, dry_run.stdout + dry_run.stderr
    table = dry_run.stdout.partition("Job stats:")[2].partition("total")[0]
    rows = [line.split() for line in table.splitlines()]
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdecimal()}


def write_config(folder: Path, config: dict[str, Any]) -> None:
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workflow's files in a folder of their own, with the tiny config."""
    folder = tmp_path_factory.mktemp("workflow")
    for name in ("workflow", "reports", "configs", "ablations", "examples"):
        shutil.copytree(REPOSITORY / name, folder / name)
    shutil.copy(REPOSITORY / "Snakefile", folder)
    (folder / "profiles").symlink_to("workflow/profiles")
    write_config(folder, TINY)
    return folder


@pytest.fixture(scope="module")
def finished(copy: Path) -> Path:
    """The same folder after a whole run."""
    done = snakemake(copy, "--configfile", "config.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    return copy


def test_plain_dry_run_plans_the_demo(copy: Path) -> None:
    planned = jobs(snakemake(copy, "-n"))
    variants = 5 + 1  # of its two ablations, which share their base
    assert planned["train"] == 6 + variants
    assert planned["complexity"] == 18 + variants
    assert planned["latency_in_turns"] == 6
    assert planned["latency"] == variants
    assert planned["quality"] == 8 + variants
    assert planned["lam"] == 6
    assert planned["scaling"] == 12
    assert planned["scaling_time"] == 6


def test_paper_is_planned_without_its_data(copy: Path) -> None:
    planned = jobs(snakemake(copy, "-n", "--configfile", "configs/paper.yaml"))
    assert planned["train"] == 18
    assert planned["quality"] == (18 + 6) * 5
    assert planned["latency_in_turns"] == 18
    assert planned["prepare"] == 3 * 6
    assert planned["lam"] == 6


def test_released_weights_are_planned_without_them_and_train_nothing(copy: Path) -> None:
    planned = jobs(snakemake(copy, "-n", "--configfile", "configs/official.yaml"))
    assert planned["restore"] == (18 + 6) * 5
    assert "train" not in planned


def test_every_ablation_is_planned_under_the_paper_s_protocol(copy: Path) -> None:
    names = [f"ablation_{path.stem}" for path in (copy / "ablations").glob("*.yaml")]
    planned = jobs(snakemake(copy, "-n", *names, "--configfile", "configs/paper.yaml"))
    assert planned["ablation_page"] == len(names)
    # Fewer than there are variants: equal ones are one run.
    assert len(names) < planned["train"] < 3 * len(names) + 18


def test_ablation_that_the_config_cannot_have_says_why(copy: Path) -> None:
    stopped = snakemake(copy, "-n", "ablation_heads")
    assert stopped.returncode != 0
    told = stopped.stdout + stopped.stderr
    assert "ablations/heads.yaml: variants.heads_10: mixer.heads: 10 heads do not divide" in told


def test_run_without_weights_and_data_tells_both(copy: Path) -> None:
    stopped = snakemake(copy, "--configfile", "configs/official.yaml")
    told = stopped.stdout + stopped.stderr
    assert stopped.returncode != 0
    assert "data/Set14/HR" in told
    assert "18 of 18 released weights are missing in weights/official" in told
    assert "hitsr fetch-weights" in told


def test_run_without_data_stops_with_what_is_missing_and_where_it_is(copy: Path) -> None:
    stopped = snakemake(copy, "--configfile", "configs/paper.yaml")
    assert stopped.returncode != 0
    told = stopped.stdout + stopped.stderr
    assert "data/Urban100/HR" in told
    assert "DIV2K_train_HR.zip" in told
    assert not list((copy / "results").glob("paper/records/**/*.json"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"nmae": "tiny"}, "no field 'nmae'; did you mean 'name'?"),
        ({"networks": ["hit_sirr"]}, "did you mean 'hit_sir'?"),
        ({"train": {**TINY["train"], "scales": [5]}}, "train.scales"),
        (
            {"train": {**TINY["train"], "patch": {"depth": [2]}}},
            "no field 'depth'; did you mean 'depths'?",
        ),
    ],
)
def test_wrong_config_is_told_with_file_and_key(
    copy: Path, tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    write_config(tmp_path, {**TINY, **change})
    stopped = snakemake(copy, "-n", "--configfile", str(tmp_path / "config.yaml"))
    assert stopped.returncode != 0
    assert told in stopped.stdout + stopped.stderr
    assert "Traceback" not in stopped.stderr


def test_config_values_on_the_command_line_are_refused(copy: Path) -> None:
    stopped = snakemake(copy, "-n", "--configfile", "config.yaml", "--config", "name=other")
    assert stopped.returncode != 0
    assert "one config file" in stopped.stdout + stopped.stderr


def test_run_makes_the_report_and_its_evidence(finished: Path) -> None:
    results = finished / "results" / "tiny"
    assert "HiT-SIR" in (results / "report" / "index.html").read_text()
    assert len(list(results.glob("records/quality/*.json"))) == 6
    assert len(list(results.glob("pictures/hit_sir-x2-s1.test/*.png"))) == 3
    assert len(list(results.glob("lam/*/record.json"))) == 3
    assert len(list(results.glob("records/scaling/*.json"))) == 2
    assert "What does leaving the softmax out" in (results / "report" / "index.html").read_text()


def test_second_run_does_nothing(finished: Path) -> None:
    again = snakemake(finished, "--configfile", "config.yaml")
    assert "Nothing to be done" in again.stdout + again.stderr


def test_same_values_in_another_file_rerun_nothing(finished: Path) -> None:
    shutil.copy(finished / "config.yaml", finished / "moved.yaml")
    again = snakemake(finished, "-n", "--configfile", "moved.yaml")
    assert "Nothing to be done" in again.stdout + again.stderr


def test_learning_rate_reruns_training_and_no_measurement_of_cost(finished: Path) -> None:
    recipe = {**TINY["train"]["recipe"], "learning_rate": 2e-3}
    write_config(finished, {**TINY, "train": {**TINY["train"], "recipe": recipe}})
    try:
        planned = jobs(snakemake(finished, "-n", "--configfile", "config.yaml"))
    finally:
        write_config(finished, TINY)
    assert planned["train"] == 3
    assert planned["report"] == 1
    assert not {"complexity", "latency", "latency_in_turns"} & set(planned)


def test_template_reruns_the_report_alone(finished: Path) -> None:
    template = finished / "reports" / "templates" / "page.html"
    template.write_text(template.read_text() + "\n")
    planned = jobs(snakemake(finished, "-n", "--configfile", "config.yaml"))
    assert set(planned) == {"report", "all"}


def test_ablation_runs_alone_and_shares_its_base(finished: Path) -> None:
    done = snakemake(finished, "ablation_shift", "--configfile", "config.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    report = finished / "results/tiny/report"
    assert "Do hierarchical windows still need" in (report / "ablations/shift.html").read_text()
    assert "Do hierarchical windows still need" not in (report / "index.html").read_text()
    assert len(list((finished / "results/tiny/weights").glob("hit_sir*-x2-s1"))) == 3


def test_ablation_file_reruns_its_variants_and_the_report_alone(finished: Path) -> None:
    file = finished / "ablations" / "softmax.yaml"
    before = file.read_text()
    try:
        data = yaml.safe_load(before)
        data["variants"]["three_heads"] = {"mixer.heads": 3}
        file.write_text(yaml.safe_dump(data))
        planned = jobs(snakemake(finished, "-n", "--configfile", "config.yaml"))
    finally:
        file.write_text(before)
    assert planned["train"] == 1
    assert planned["complexity"] == planned["latency"] == planned["quality"] == 1
    assert planned["report"] == 1


def test_own_network_is_measured_by_every_rule(finished: Path) -> None:
    results = finished / "results" / "tiny"
    for record in (
        "records/complexity/mine-x2.json",
        "records/quality/mine-x2.test.json",
        "records/latency/mine-x2.cpu.own.json",
        "lam/mine-x2.test/record.json",
    ):
        assert (results / record).is_file()
    assert ">mine<" in (results / "report" / "index.html").read_text()


def test_both_formulations_are_timed_in_one_job(finished: Path) -> None:
    folder = finished / "results/tiny/records/latency"
    paper, fused = (
        LatencyRecord.load(folder / f"hit_sir-x2.cpu.{form}.json") for form in ("paper", "fused")
    )
    assert len(paper.over(fused)) == 1
    assert not (folder / "hit_sir.softmax_softmax-x2.cpu.paper.json").exists()
    assert LatencyRecord.load(folder / "mine-x2.cpu.own.json").session is None


def test_sizes_are_timed_where_samples_are_asked_for(finished: Path, tmp_path: Path) -> None:
    assert not (finished / "results/tiny/records/scaling_time").exists()
    write_config(tmp_path, {**TINY, "scaling": {"over": ["window"], "samples": 2}})
    target = "results/tiny/records/scaling_time/hit_sir-x2.cpu.fused.json"
    asked = ("--configfile", str(tmp_path / "config.yaml"))
    planned = snakemake(finished, target, "-n", "-p", "--quiet", "progress", *asked)
    assert "--over window --formulation fused --device cpu" in planned.stdout
    assert "--samples 2" in planned.stdout


def test_one_formulation_is_timed_alone(copy: Path, tmp_path: Path) -> None:
    efficiency = {**TINY["efficiency"], "latency": {"scales": [2], "device": "cpu"}}
    write_config(tmp_path, {**TINY, "name": "alone", "efficiency": efficiency})
    planned = jobs(
        snakemake(copy, "-n", "latency_all", "--configfile", str(tmp_path / "config.yaml"))
    )
    assert planned["latency"] == 2 * 3
    assert "latency_in_turns" not in planned


def test_released_weights_are_scored_without_training(copy: Path) -> None:
    (copy / "weights").mkdir()
    for name in UNTRAINED["networks"]:
        torch.manual_seed(0)
        made = create(name, 4).state_dict()
        torch.save({"params_ema": made}, copy / "weights" / f"{name}_x4.pth")
    (copy / "untrained.yaml").write_text(yaml.safe_dump(UNTRAINED))
    done = snakemake(copy, "--configfile", "untrained.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    results = copy / "results" / "untrained"
    assert {path.stem for path in results.glob("records/quality/*.json")} == {
        f"{method}-x4.test" for method in ("swinir_light", "hit_sir", "bicubic", "hr")
    }
    assert "weights as released" in (results / "report" / "index.html").read_text()


def test_attribution_sheet_wants_a_map_of_every_run(copy: Path) -> None:
    planned = jobs(snakemake(copy, "-n", "results/demo/lam/sheets/test-x2.png"))
    assert planned["lam"] == 6
    assert planned["lam_sheet"] == 1
    assert "latency_in_turns" not in planned


def test_scales_can_start_from_smaller_ones(copy: Path, tmp_path: Path) -> None:
    train = {**TINY["train"], "scales": [2, 3], "start_from": {3: 2}}
    write_config(tmp_path, {**TINY, "name": "chained", "train": train})
    target = "results/chained/weights/hit_sir-x3-s1/weights.safetensors"
    planned = jobs(snakemake(copy, "-n", target, "--configfile", str(tmp_path / "config.yaml")))
    assert planned["train"] == 2
