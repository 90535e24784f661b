"""`hitsr plan` beside Snakemake: what it says would be made is what Snakemake would make.

The results are of the real pipeline, but for the work of its jobs: a stand-in for the command
`hitsr` writes files of no content in no time, except for `prepare`, which notices pictures.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from hitsr.base.errors import SpecError
from hitsr.cli.outlook import plan, planned_config
from hitsr.plan.rates import work_of
from hitsr.records import Provenance
from hitsr.records.step_time import StepTimeRecord
from hitsr.specs.config import load_config, runs

REPOSITORY = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent
DEADLINE_S = 1800  # far above what any step takes: it only ends what hangs
RESULTS = Path("results/tiny")
CONFIG: dict[str, Any] = {
    "name": "tiny",
    "title": "Before",
    "networks": ["swinir_light"],
    "data": {
        "root": "data", "source": "folder", "train": "one", "validation": "one",
        "test": ["one", "two"],
    },
    "train": {
        "scales": [2],
        "device": "cpu",
        "changes": {"depths": [1], "width": 24, "windows.base": 4, "windows.ratios": [1]},
        "recipe": {
            "steps": 4, "batch": 1, "patch": 8, "learning_rate": 0.001, "log_every": 1,
            "validate_every": 4,
        },
    },
    "efficiency": {
        "scales": [2], "output_size": [48, 32],
        "latency": {"scales": [2], "warmup": 0, "samples": 1, "device": "cpu"},
    },
    "ablations": ["width"],
}  # fmt: skip
ABLATION: dict[str, Any] = {
    "question": "Does the width matter?",
    "base": "swinir_light",
    "variants": {"as_is": {}, "narrow": {"width": 12}},
    "expect": "It does.",
}
STAND_IN = """#!{python} -IS
import json, os, sys
verb, *words = sys.argv[1:]
if verb == "prepare":
    os.execv("{hitsr}", ["{hitsr}", *sys.argv[1:]])
if verb == "report":
    os.makedirs("results/tiny/report", exist_ok=True)
    open("results/tiny/report/index.html", "w").write("a page")
for at, word in enumerate(words):
    if word == "--job":
        job = json.load(open(words[at + 1]))
        output = job["output"]
        os.makedirs(os.path.dirname(output), exist_ok=True)
        if verb == "restore":
            os.makedirs(output, exist_ok=True)
            continue
        open(output, "w").write("{{}}")
        if verb == "train":
            for name in ("weights.safetensors", "log.jsonl"):
                open(os.path.join(os.path.dirname(output), name), "w").write(name)
"""


def environment() -> dict[str, str]:
    """With the copy of hitsr that stands in the working folder."""
    path = f"bin{os.pathsep}{TOOLS}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": os.getcwd()}


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=DEADLINE_S
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def snakemake(*arguments: str) -> str:
    command = (TOOLS / "snakemake", "--cores", "2", "--configfile", "tiny.yaml", *arguments)
    return run(*command).stdout


def planned(*arguments: str) -> dict[str, Any]:
    """What `hitsr plan --json` prints."""
    code = "from hitsr.cli import main; main()"
    done = run(sys.executable, "-P", "-c", code, "plan", "tiny.yaml", "--json", *arguments)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def told(found: dict[str, Any]) -> dict[tuple[str, str], str]:
    """The reason of each job that would be made, by kind and name."""
    return {
        (kind, name): row["reason"]
        for row in found["reasons"]
        for kind, names in row["jobs"].items()
        for name in names
    }


def made_by(said: str) -> set[tuple[str, str]]:
    """The jobs, by kind and name, whose outputs a dry run of Snakemake lists."""
    found = set()
    for line in re.findall(r"^    output: (.*)$", said, re.M):
        for file in map(Path, line.split(", ")):
            match file.relative_to(RESULTS).parts:
                case ("records", kind, name):
                    found.add((kind, name.removesuffix(".json")))
                case ("weights", name, _):
                    found.add(("train", name))
                case ("pictures", name):
                    found.add(("restore", name))
                case ("report", name):
                    found.add(("report", name.removesuffix(".html")))
    return found


def write_picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(samples).save(path)


def state_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Time stamps and content of all files in a folder."""
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a copy of hitsr, a config, pictures, and finished results."""
    folder = tmp_path_factory.mktemp("plan")
    for name in ("workflow", "reports", "hitsr"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / name, folder / name, ignore=ignored)
    shutil.copy(REPOSITORY / "Snakefile", folder)
    (folder / "profiles").symlink_to("workflow/profiles")
    (folder / "ablations").mkdir()
    (folder / "ablations/width.yaml").write_text(yaml.safe_dump(ABLATION))
    (folder / "tiny.yaml").write_text(yaml.safe_dump(CONFIG))
    for number, dataset in enumerate(("one", "two")):
        write_picture(folder / f"data/{dataset}/HR/a.png", number)
    stand_in = folder / "bin/hitsr"
    stand_in.parent.mkdir()
    stand_in.write_text(STAND_IN.format(python=sys.executable, hitsr=TOOLS / "hitsr"))
    stand_in.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        snakemake()
    return folder


@pytest.fixture
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(place)
    return place


def test_a_plan_says_what_snakemake_does_and_why_and_writes_nothing(here: Path) -> None:
    """After changes of a title, an ablation, a picture and code, and of a rate not yet made.

    And after a result was deleted.
    """
    (here / "tiny.yaml").write_text(yaml.safe_dump({**CONFIG, "title": "After"}))
    variants = {**ABLATION["variants"], "wide": {"width": 36}}
    (here / "ablations/width.yaml").write_text(yaml.safe_dump({**ABLATION, "variants": variants}))
    write_picture(here / "data/two/HR/a.png", 7)
    with (here / "hitsr/measure/complexity.py").open("a") as code:
        code.write("CHANGED = True\n")
    (RESULTS / "records/quality/bicubic-x2.one.json").unlink()
    for lock in (".tiny.lock", ".tiny.writer"):  # of a pipeline that was killed
        Path("results", lock).write_text("")
    before = state_of(here / "results")
    found = planned("--set", "train.recipe.learning_rate=0.002")
    assert state_of(here / "results") == before
    reasons = told(found)

    assert reasons["prepare", "two-x2"] == "its pictures changed"
    assert reasons["restore", "bicubic-x2.two"] == "needs what is made anew"
    assert reasons["quality", "bicubic-x2.one"] == "its result was deleted"
    assert reasons["complexity", "swinir_light-x2"] == "its code changed"
    rate = "recipe.learning_rate 0.001 → 0.002"
    for kind, name in (("train", ""), ("restore", ".one"), ("quality", ".one")):
        assert reasons[kind, f"swinir_light-x2-s1{name}"] == rate
    new = {key for key, reason in reasons.items() if reason == "was not made yet"}
    assert {kind for kind, _ in new} == {"train", "restore", "quality", "complexity", "latency"}
    assert {name.partition("-x2")[0] for _, name in new} == {"swinir_light.width_36"}
    assert reasons["report", "index"] == (
        "title Before → After; train.recipe.learning_rate 0.001 → 0.002; an ablation’s file "
        "changed; shows other results than before"
    )

    counts = {row["kind"]: (row["done"], row["to_do"]) for row in found["kinds"]}
    assert counts["prepare"] == (1, 1)
    assert counts["latency"] == (2, 1)  # timings do not depend on the rate
    changed = {**CONFIG["train"], "recipe": {**CONFIG["train"]["recipe"], "learning_rate": 0.002}}
    (here / "tiny.yaml").write_text(yaml.safe_dump({**CONFIG, "title": "After", "train": changed}))
    assert {*reasons} == made_by(snakemake("-n", "--quiet", "host"))


def test_values_are_set_at_dotted_paths_and_read_as_yaml(tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(CONFIG))
    changes = ["train.recipe.steps=8", "train.changes.windows.base=8", "lam.sets=[one]"]
    config, text = planned_config(file, [*changes, "lam.scales=[2]"], None)
    assert config.train
    assert config.train.recipe.steps == 8  # type: ignore[union-attr]
    assert config.train.changes["windows.base"] == 8
    assert config.lam
    assert config.lam.sets == ("one",)
    assert text
    assert yaml.safe_load(text)["lam"] == {"sets": ["one"], "scales": [2]}


def test_a_config_is_held_against_the_results_of_another(tmp_path: Path) -> None:
    new, old = tmp_path / "new.yaml", tmp_path / "old.yaml"
    new.write_text(yaml.safe_dump({**CONFIG, "name": "new"}))
    old.write_text(yaml.safe_dump(CONFIG))
    config, text = planned_config(new, [], old)
    assert config.name == "tiny"
    assert text
    assert "name: tiny" in text
    assert planned_config(new, [], None).text is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("train.recipe.steps", "write KEY=VALUE"),
        ("=3", "write KEY=VALUE"),
        ("title.size=3", "title is 'Before' in the config; set title as a whole"),
        ("train.recipe.stepps=3", r"no field 'train.recipe.stepps'; did you mean"),
        ("train.recipe.steps=[", "not YAML"),
    ],
)
def test_a_value_that_cannot_be_set_is_told(tmp_path: Path, change: str, words: str) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(CONFIG))
    with pytest.raises(SpecError, match=words):
        planned_config(file, [change], None)


def test_a_gpu_of_another_machine_is_planned_for_by_its_own_rates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    train = {**CONFIG["train"], "device": "auto", "seeds": [1, 2]}
    Path("tiny.yaml").write_text(yaml.safe_dump({**CONFIG, "train": train, "ablations": []}))
    run_spec = runs(load_config(Path("tiny.yaml")))["swinir_light-x2-s1"]
    work = work_of(run_spec)
    made = Provenance(
        commit=None, dirty=None, versions={}, device="cuda:0", device_name="A GPU", threads=8,
        command="", seconds=1,
    )  # fmt: skip
    StepTimeRecord(
        subject="a", job_hash=work.hash, provenance=made, work=work, params=1,
        samples_s=(900,), device_samples_s=(900,),
    ).save(Path("results/other/rates/a.json"))  # fmt: skip
    plan(Path("tiny.yaml"), on="A GPU", gpus=2, cores=8, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["device"], found["gpus"]) == ("A GPU", 2)
    assert found["device_hours"] == 2  # two trainings of four steps of a quarter of an hour
    assert found["clock_hours"] == 1  # on two GPUs
    plan(Path("tiny.yaml"), on="Another GPU", as_json=True)
    assert json.loads(capsys.readouterr().out)["device_hours"] == 0
