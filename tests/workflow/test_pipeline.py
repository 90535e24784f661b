"""The pipeline as users run it: dry runs, and one real run on a tiny config, in a copy of the
workflow's files."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from hitsr.base.errors import SpecError
from hitsr.base.files import sha256
from hitsr.data.images import write_png
from hitsr.models.backbone import create
from hitsr.plan.layout import file_name
from hitsr.records import LatencyRecord, QualityRecord
from hitsr.specs.ablation import read_ablations
from hitsr.specs.config import load_config

REPOSITORY = Path(__file__).parents[2]
TINY: dict[str, Any] = run_path(str(REPOSITORY / "tests/tiny.py"))["tiny"](
    "tiny",
    "A run of seconds",
    networks=["swinir_light", "hit_sir"],
    own={"mine": {"source": "examples/own_network.py:build", "scales": [2]}},
    data={"root": "data/tiny"},
    train={
        "changes": {"depths": [2], "width": 24, "windows.base": 4, "windows.ratios": [1, 2]},
    },
    recipe={"steps": 4, "milestones": [2], "log_every": 2, "validate_every": 4},
    lam={"sets": ["test"], "scales": [2], "crop": 48},
    scaling={"over": ["window"]},
    ablations=["softmax"],
)
SHEET = "results/tiny/lam/sheets/test-x2.png"
# Released weights, and nothing trained.
UNTRAINED: dict[str, Any] = {
    **{key: TINY[key] for key in ("title", "efficiency")},
    "name": "untrained",
    "networks": ["hit_sir"],
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
        timeout=1800,  # far above what any takes: it only ends what hangs
    )


def jobs(dry_run: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """How many jobs of each rule a dry run announces."""
    assert dry_run.returncode == 0, dry_run.stdout + dry_run.stderr
    table = dry_run.stdout.partition("Job stats:")[2].partition("total")[0]
    rows = [line.split() for line in table.splitlines()]
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdecimal()}


def batches(planned: dict[str, int], kind: str) -> list[str]:
    """The rules that measure batches of one kind of costs."""
    return [rule for rule in planned if re.match(rf"{kind}_(?!time)", rule)]


def refused(folder: Path, *arguments: str) -> str:
    """What a run says that must stop."""
    stopped = snakemake(folder, *arguments)
    assert stopped.returncode != 0, stopped.stdout
    return stopped.stdout + stopped.stderr


def write_config(folder: Path, config: dict[str, Any]) -> None:
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workflow's files in a folder of their own, with the tiny config."""
    folder = copied(tmp_path_factory.mktemp("workflow") / "copy")
    write_config(folder, TINY)
    return folder


def copied(folder: Path) -> Path:
    """A new folder with the workflow's files."""
    for name in ("workflow", "reports", "configs", "ablations", "examples"):
        shutil.copytree(REPOSITORY / name, folder / name)
    shutil.copy(REPOSITORY / "Snakefile", folder)
    (folder / "profiles").symlink_to("workflow/profiles")
    return folder


def write_weights(folder: Path, networks: Sequence[str] = UNTRAINED["networks"]) -> None:
    """Weights of networks, by default UNTRAINED's, with names and layout of released ones."""
    folder.mkdir(parents=True)
    for name in networks:
        torch.manual_seed(0)
        torch.save({"params_ema": create(name, 4).state_dict()}, folder / f"{name}_x4.pth")


@pytest.fixture(scope="module")
def finished(copy: Path) -> Path:
    """The same folder after a whole run, a sheet of maps included."""
    done = snakemake(copy, "all", SHEET, "--configfile", "config.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    return copy


def test_plain_dry_run_plans_the_demo(copy: Path) -> None:
    planned = jobs(snakemake(copy, "-n"))
    variants = 5 + 1  # of its two ablations, which share their base
    assert planned["train"] == 6 + variants
    assert planned["quality"] == 8 + variants
    assert planned["lam"] == 6
    assert {"complexity_x2", "complexity_x3", "complexity_x4"} < set(planned)
    assert len(batches(planned, "complexity")) == 3 + variants
    assert "latency_x4_cpu" in planned
    assert len(batches(planned, "latency")) == 1 + variants
    assert set(batches(planned, "scaling")) == {"scaling_x2_window", "scaling_x2_picture"}
    assert "scaling_time_x2" in planned


def test_paper_and_every_ablation_are_planned_without_data(copy: Path) -> None:
    known = read_ablations(copy / "ablations")
    names = [f"ablation_{name}" for name in known]
    variants = sum(len(each.base) * (len(each.variants) - 1) for each in known.values())
    planned = jobs(snakemake(copy, "-n", "all", *names, "--configfile", "configs/paper.yaml"))
    assert planned["ablation_page"] == len(names)
    # Fewer than there are variants: equal ones are one run.
    assert 18 + len(names) < planned["train"] < 18 + variants
    assert planned["quality"] > (18 + 6) * 5
    assert planned["lam"] == 6


def test_released_weights_are_planned_without_them_and_train_nothing(copy: Path) -> None:
    planned = jobs(snakemake(copy, "-n", "--configfile", "configs/official.yaml"))
    assert planned["restore"] == (18 + 6) * 5
    assert planned["prepare"] == 3 * 5
    assert "train" not in planned


@pytest.mark.parametrize("device", ["cpu", "cuda:1", "mps"])
def test_jobs_hold_a_gpu_exactly_where_they_use_one(copy: Path, device: str) -> None:
    config = copy.parent / f"{copy.name}-devices.yaml"
    latency = {**TINY["efficiency"]["latency"], "device": device}
    efficiency = {**TINY["efficiency"], "latency": latency}
    changes = {"train": {**TINY["train"], "device": device}, "efficiency": efficiency}
    config.write_text(yaml.safe_dump({**TINY, **changes, "name": "devices"}))
    told = snakemake(copy, "-n", "--quiet", "host", "--configfile", str(config))
    held = {
        (re.sub(r"_x2.*|_hit.*", "", rule), "name=bicubic" in job or "name=hr" in job, *counts)
        for job in told.stdout.split("\n[")
        for rule, *counts in re.findall(r"rule (\w+):.*gpu=(\d), gpu_places=(\d)", job, re.DOTALL)
    }
    used = ["0", "0"] if device == "cpu" else ["1", "1"]
    assert held == {
        ("restore", True, "0", "0"),  # a control: no network makes its pictures
        *((kind, False, *used) for kind in ("train", "restore", "lam", "latency")),
    }


def test_a_training_holds_the_gpus_and_cores_that_share_it(copy: Path) -> None:
    config = copy.parent / f"{copy.name}-several.yaml"
    recipe = {**TINY["train"]["recipe"], "batch": 2, "parts": 2}
    train = {**TINY["train"], "device": "cuda", "gpus": 2, "recipe": recipe}
    config.write_text(yaml.safe_dump({**TINY, "train": train, "name": "several"}))
    run = "results/several/weights/hit_sir-x2-s1/record.json"
    words = (run, "-n", "--quiet", "host", "--configfile", str(config))
    for limit in (1, 4):  # with fewer than it takes, it runs alone
        told = snakemake(copy, *words, "--resources", f"gpu={limit}").stdout
        (job,) = (each for each in told.split("\n[") if "rule train:" in each)
        assert re.findall(r"threads: (\d)|gpu=(\d)", job) == [("2", ""), ("", f"{min(2, limit)}")]
        assert "gpu_places=2" in job
        assert "priority: 5" in job  # short trainings go first


def test_ablation_that_the_config_cannot_have_says_why(copy: Path) -> None:
    told = refused(copy, "-n", "ablation_heads")
    assert "ablations/heads.yaml: variants.heads_10: mixer.heads: 10 heads do not divide" in told


def test_what_no_job_makes_is_told_with_the_nearest_name(copy: Path) -> None:
    told = refused(copy, "-n", "results/demo/weights/hit_sir-x2-s2/record.json")
    assert "did you mean 'results/demo/weights/hit_sir-x2-s1/record.json'?" in told


def test_run_without_weights_and_data_tells_both_and_where_they_are(copy: Path) -> None:
    told = refused(copy, "--configfile", "configs/official.yaml")
    assert "data/Urban100/HR" in told
    assert "www.manga109.org" in told
    assert "18 of 18 released weights are missing in weights/official" in told
    assert "hitsr fetch-weights" in told
    assert not (copy / "results/official/records").exists()


def test_a_device_that_is_not_there_is_told_before_any_work(copy: Path) -> None:
    config = copy.parent / f"{copy.name}-absent.yaml"
    changes = {"name": "absent", "train": {**TINY["train"], "device": "cuda:99"}}
    config.write_text(yaml.safe_dump({**TINY, **changes}))
    assert "device 'cuda:99': " in refused(copy, "--configfile", str(config))
    assert not (copy / "results/absent/records").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"nmae": "tiny"}, "no field 'nmae'; did you mean 'name'?"),
        ({"ablations": ["softmx"]}, "did you mean 'softmax'?"),
        (
            {"train": {**TINY["train"], "changes": {"depth": [2]}}},
            "no field 'depth'; did you mean 'depths'?",
        ),
    ],
)
def test_wrong_config_is_told_in_a_sentence(
    copy: Path, tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    write_config(tmp_path, {**TINY, **change})
    said = refused(copy, "-n", "--configfile", str(tmp_path / "config.yaml"))
    assert told in said
    assert "Traceback" not in said


def test_what_snakemake_cannot_read_is_told_as_by_hitsr(copy: Path, tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    wrong = ["", "- 1", "[" * 3000, "a: 2026-13-45", f"a: {'9' * 5000}", "a: \xff", "a: 1\na: 2"]
    for text in wrong:
        file.write_bytes(text.encode("latin-1"))
        with pytest.raises(SpecError) as told:
            load_config(file)
        said = refused(copy, "-n", "--configfile", str(file))
        assert said.endswith(f"\nhitsr: {told.value}\n")
        assert "Traceback" not in said


def test_config_values_on_the_command_line_are_refused(copy: Path) -> None:
    for files in ((), ("--configfile", "config.yaml")):
        for profile in ((), ("--workflow-profile", "none", "--cores", "1")):
            told = refused(copy, "-n", *profile, *files, "--config", "name=other")
            assert "one config file" in told


ODD = """it's [a] "$(touch ran)" `touch ran` {set} <x> 100% #1 ü東 ;touch ran & | *?! ~"""


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workflow's files, a set and code of one's own, where every name has odd characters."""
    folder = copied(tmp_path_factory.mktemp("odd") / f"{ODD}\\\nx")
    noise = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    write_png(folder / f"-data {ODD}" / ODD / "HR" / f"{ODD}.png", noise)
    shutil.copy(folder / "examples" / "own_network.py", folder / f"{ODD}.py")
    return folder


def run_odd(folder: Path, config: dict[str, Any], *targets: str) -> None:
    """Run a config whose set, own network and file have odd names; nothing of them is executed."""
    data = {"root": f"-data {ODD}", "source": "folder", "test": [ODD], **config["data"]}
    own = {"mine-4.v2": {"source": f"{ODD}.py:build", "scales": [4]}}
    (folder / f"-{ODD}.yaml").write_text(
        yaml.safe_dump({**config, "title": ODD, "data": data, "own": own}), encoding="utf-8"
    )
    done = snakemake(folder, *targets, f"--configfile=-{ODD}.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not [*folder.rglob("ran")]


def test_every_character_of_paths_and_names_works(odd: Path) -> None:
    write_weights(odd / "~" / ODD)
    config = {**UNTRAINED, "name": "odd.x-4", "data": {}, "weights": {"root": f"./~/{ODD}"}}
    names = [f"{method}-x4.{ODD}" for method in ("bicubic", "mine-4.v2", "hit_sir")]
    records = [f"results/odd.x-4/records/quality/{file_name(name)}.json" for name in names]
    run_odd(odd, {**config, "weights": {**config["weights"], "scales": [4]}}, *records)
    assert {QualityRecord.load(odd / record).dataset for record in records} == {ODD}


def test_every_character_of_paths_and_names_works_in_training(odd: Path) -> None:
    trained = {"train": ODD, "validation": ODD, "packs": f"packs {ODD}"}
    config = {**TINY, "name": "odd", "data": trained, "ablations": []}
    del config["lam"], config["scaling"]
    run_odd(odd, config, "results/odd/weights/hit_sir-x2-s1/record.json")
    assert len([*(odd / f"packs {ODD}" / ODD).rglob("*.safetensors")]) == 2


def test_other_weights_and_templates_rerun_what_reads_them(odd: Path) -> None:
    write_weights(odd / "{w}")
    config = {**UNTRAINED, "weights": {"root": "{w}", "scales": [4]}, "name": "other"}
    (odd / "other.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    scores = "results/other/records/quality/hit_sir-x4.test.json"
    call = (scores, "--configfile", "other.yaml")
    assert snakemake(odd, *call).returncode == 0
    torch.manual_seed(1)
    torch.save({"params": create("hit_sir", 4).state_dict()}, odd / "{w}" / "hit_sir_x4.pth")
    assert set(jobs(snakemake(odd, "-n", *call))) == {"restore", "quality"}


def test_changed_pictures_are_prepared_again_and_touched_ones_are_not(copy: Path) -> None:
    noise = np.random.default_rng(1)
    hr = copy / "data/watched/{set} [x]/HR"
    for name in ("a", "b"):
        write_png(hr / f"{name}.png", noise.integers(0, 256, (48, 48, 3), dtype=np.uint8))
    config = {**UNTRAINED, "name": "watched", "own": TINY["own"]}
    del config["weights"]
    config["data"] = {"root": "data/watched", "source": "folder", "test": ["{set} [x]"]}
    (copy / "watched.yaml").write_text(yaml.safe_dump(config))
    record = f"results/watched/records/quality/{file_name('bicubic-x2.{set} [x]')}.json"
    command = (record, "--configfile", "watched.yaml")
    done = snakemake(copy, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    before = (hr / "a.png").read_bytes()
    os.utime(hr / "a.png")
    again = snakemake(copy, "-n", *command)
    assert "Nothing to be done" in again.stdout + again.stderr
    write_png(hr / "a.png", noise.integers(0, 256, (48, 48, 3), dtype=np.uint8))
    for _ in range(2):
        assert jobs(snakemake(copy, "-n", *command)) == {"prepare": 1, "quality": 1, "restore": 1}
    (hr / "a.png").write_bytes(before)
    again = snakemake(copy, "-n", *command)
    assert "Nothing to be done" in again.stdout + again.stderr
    (hr / "b.png").unlink()
    done = snakemake(copy, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [picture.name for picture in QualityRecord.load(copy / record).pictures] == ["a"]
    again = snakemake(copy, "-n", *command)
    assert "Nothing to be done" in again.stdout + again.stderr


def test_one_process_makes_the_pictures_that_are_ready_and_a_changed_set_reruns_alone(
    copy: Path,
) -> None:
    noise = np.random.default_rng(2)
    names, sets = ("hit_sir", "swinir_light"), ("a", "b")

    def draw(dataset: str) -> None:
        picture = noise.integers(0, 256, (48, 48, 3), dtype=np.uint8)
        write_png(copy / f"data/pair/{dataset}/HR/one.png", picture)

    for dataset in sets:
        draw(dataset)
    write_weights(copy / "pair", names)
    config = {
        **UNTRAINED,
        "name": "pair",
        "networks": list(names),
        "weights": {"root": "pair", "scales": [4]},
        "data": {"root": "data/pair", "source": "folder", "test": list(sets)},
    }
    (copy / "pair.yaml").write_text(yaml.safe_dump(config))
    results = copy / "results/pair"
    cells = [f"{name}-x4.{dataset}" for dataset in sets for name in names]
    records = [f"results/pair/records/quality/{cell}.json" for cell in cells]
    command = (*records, "--configfile", "pair.yaml")
    done = snakemake(copy, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    logs = [(results / f"logs/restore/{cell}.log").read_text() for cell in cells]
    assert sum("was done ahead of its turn" in log for log in logs) == 3
    assert not [*results.glob("pictures/.kept/*/*")]
    draw("a")
    assert jobs(snakemake(copy, "-n", *command)) == {"prepare": 1, "restore": 2, "quality": 2}
    files = [results / f"pictures/{cell}/one.png" for cell in cells]
    before = [(file.stat().st_mtime_ns, sha256(file)) for file in files]
    assert snakemake(copy, *command).returncode == 0
    after = [(file.stat().st_mtime_ns, sha256(file)) for file in files]
    assert [old == new for old, new in zip(before, after, strict=True)] == [False] * 2 + [True] * 2


def test_run_makes_the_report_and_its_evidence(finished: Path) -> None:
    results = finished / "results" / "tiny"
    assert "HiT-SIR" in (results / "report" / "index.html").read_text()
    assert len(list(results.glob("records/quality/*.json"))) == 6
    assert len(list(results.glob("pictures/hit_sir-x2-s1.test/*.png"))) == 3
    assert len(list(results.glob("lam/*/record.json"))) == 3
    assert (finished / SHEET).is_file()
    assert len(list(results.glob("records/scaling/*.json"))) == 2
    assert not (results / "records/scaling_time").exists()  # no samples are asked for
    assert "What does leaving the softmax out" in (results / "report" / "index.html").read_text()


def test_second_run_does_nothing(finished: Path) -> None:
    again = snakemake(finished, "all", SHEET, "--configfile", "config.yaml")
    assert "Nothing to be done" in again.stdout + again.stderr


def test_deleted_record_is_made_anew(finished: Path) -> None:
    command = ("--configfile", "config.yaml")
    (finished / "results/tiny/records/quality/hr-x2.test.json").unlink()
    assert jobs(snakemake(finished, "-n", *command)) == {"quality": 1, "report": 1, "all": 1}
    done = snakemake(finished, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    again = snakemake(finished, "-n", *command)
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
    assert set(planned) == {"train", "restore", "quality", "lam", "report", "all"}
    # Nor does a look at what would be done redo anything once the old value is back.
    again = snakemake(finished, "-n", "--configfile", "config.yaml")
    assert "Nothing to be done" in again.stdout + again.stderr


def test_title_and_template_rerun_the_report_alone(finished: Path) -> None:
    write_config(finished, {**TINY, "title": "Another"})
    try:
        planned = jobs(snakemake(finished, "-n", "--configfile", "config.yaml"))
    finally:
        write_config(finished, TINY)
    assert set(planned) == {"report", "all"}
    for shown in ("templates/page.html", "claims.yaml", "published/published.csv"):
        file = finished / "reports" / shown
        before = file.read_text()
        file.write_text(before + "\n")
        os.utime(file, (0, 0))  # as of a copy that keeps its date
        try:
            planned = jobs(snakemake(finished, "-n", "--configfile", "config.yaml"))
        finally:
            file.write_text(before)
            os.utime(file, (0, 0))
        assert set(planned) == {"report", "all"}, shown


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
    assert planned["train"] == planned["quality"] == planned["report"] == 1
    assert batches(planned, "complexity") == ["complexity_hit_sir_heads_3_x2"]
    assert batches(planned, "latency") == ["latency_hit_sir_heads_3_x2_cpu_fused"]


def test_own_network_is_measured_by_every_rule(finished: Path) -> None:
    results = finished / "results" / "tiny"
    for record in (
        "records/complexity/mine-x2.json",
        "records/quality/mine-x2.test.json",
        "records/latency/mine-x2.cpu.own.json",
        "lam/mine-x2.test/record.json",
    ):
        assert (results / record).is_file()
    assert "mine" in (results / "report" / "index.html").read_text()


def test_networks_of_a_scale_are_timed_in_turns(finished: Path) -> None:
    folder = finished / "results/tiny/records/latency"
    setups = ("hit_sir-x2.cpu.fused", "swinir_light-x2.cpu.fused", "mine-x2.cpu.own")
    first, *others = (LatencyRecord.load(folder / f"{setup}.json") for setup in setups)
    assert all(len(first.over(other)) == 1 for other in others)
    assert LatencyRecord.load(folder / "hit_sir.softmax_on-x2.cpu.fused.json").session is None


def test_failed_job_says_why_and_what_to_do(finished: Path, tmp_path: Path) -> None:
    pictures = "results/tiny/pictures/hit_sir-x2-s1.test"
    needed = [finished / "data/tiny/test/LR_bicubic", finished / pictures]
    for folder in needed:
        folder.rename(tmp_path / folder.name)
    try:
        told = refused(finished, pictures, "--configfile", "config.yaml")
    finally:
        for folder in needed:
            (tmp_path / folder.name).rename(folder)
    assert "no such folder; check the path, or run `hitsr prepare`" in told
    assert "`snakemake --forcerun prepare`" in told


def test_released_weights_are_scored_without_training(copy: Path) -> None:
    write_weights(copy / "weights")
    (copy / "untrained.yaml").write_text(yaml.safe_dump(UNTRAINED))
    done = snakemake(copy, "--configfile", "untrained.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    results = copy / "results" / "untrained"
    assert {path.stem for path in results.glob("records/quality/*.json")} == {
        f"{method}-x4.test" for method in ("hit_sir", "bicubic", "hr")
    }
    assert "weights as released" in (results / "report" / "index.html").read_text()
