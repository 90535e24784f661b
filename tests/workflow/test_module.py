"""The workflow as others take it: from Snakemake's catalogue, as a module of their own workflow."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hitsr.plan.planning import make_plan
from hitsr.specs.config import load_config

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config" / "config.yaml"
# What snakedeploy writes, but for the address, and then what config/README.md adds to it.
DEPLOYED = f'''
from snakemake.utils import min_version


min_version("6.10.0")


configfile: "config/config.yaml"


module hitsr:
    snakefile:
        "{ROOT / "workflow" / "Snakefile"}"
    config:
        config


use rule * from hitsr
'''
_README = (ROOT / "config" / "README.md").read_text(encoding="utf-8")
HANDLERS = _README.partition("```python\n")[2].partition("```")[0]


@pytest.fixture
def deployed(tmp_path: Path) -> Path:
    """A folder as snakedeploy makes it: a copy of config/, and a workflow that uses ours."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / "workflow").mkdir()
    (tmp_path / "workflow" / "Snakefile").write_text(DEPLOYED)
    return tmp_path


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    tools = Path(sys.executable).parent
    return subprocess.run(
        [tools / "snakemake", "--cores", "1", *arguments], cwd=folder,
        env={**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True, text=True, timeout=1800,
    )  # fmt: skip


def test_the_catalogue_finds_what_it_asks_for() -> None:
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert set(usage) == {"mandatory-flags", "software-stack-deployment", "report"}
    assert (ROOT / "workflow" / "Snakefile").is_file()
    assert HANDLERS
    plan = make_plan(load_config(CONFIG), {})
    assert {job.kind for job in plan.jobs} >= {"prepare", "train", "quality", "latency"}


def test_a_deployed_workflow_plans_the_jobs_of_its_config(deployed: Path) -> None:
    done = snakemake(deployed, "-n")
    assert done.returncode == 0, done.stdout + done.stderr
    table = dict(line.split()[:2] for line in done.stdout.splitlines() if len(line.split()) == 2)
    assert (table["train"], table["report"], table["all"]) == ("2", "1", "1")


def test_its_jobs_run_with_the_handlers_of_ours(deployed: Path) -> None:
    with (deployed / "workflow" / "Snakefile").open("a") as file:
        file.write(HANDLERS)
    record = "results/first/records/prepare/test-x2.json"
    done = snakemake(deployed, record, "--nolock")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (deployed / record).is_file()
    assert (deployed / "results" / "first" / "jobs" / "wanted.json").is_file()


def test_settings_that_are_not_the_file_s_are_refused(deployed: Path) -> None:
    file = deployed / "workflow" / "Snakefile"
    file.write_text(DEPLOYED.replace("        config\n", "        {**config, 'name': 'other'}\n"))
    done = snakemake(deployed, "-n")
    assert done.returncode != 0
    assert "config/config.yaml: a workflow that uses hitsr's as a module gives it" in done.stderr
