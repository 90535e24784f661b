"""Every command of README and docs/ runs: hitsr's for real on small pictures, others dry."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from hitsr.cli import app
from hitsr.data.images import write_png
from hitsr.models.backbone import create
from hitsr.models.checkpoints import save_weights
from hitsr.plan.jobs import CountJob
from hitsr.plan.layout import Layout
from hitsr.plan.subjects import BuiltNetwork
from hitsr.specs.zoo import NETWORKS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TOOLS = Path(sys.executable).parent
# Exit statuses that a page speaks of, or that this folder must give.
EXPECTED = {
    "hitsr prepare --dataset": {1},  # from where nobody answers
    "hitsr fetch-weights": {0, 1},  # 1 without a network
    "hitsr doctor": {0, 1},  # 1 where pictures are missing
    "hitsr compare": {0, 1},
    "hitsr verify": {0, 1},  # 1 as long as there is no list
}


def commands(page: Path) -> list[str]:
    """Those in console blocks and in code spans that begin with one of our tools."""
    text = page.read_text()
    blocks = re.findall(r"```console\n(.*?)```", text, re.S)
    lines = [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]
    spans = re.findall(
        r"`((?:hitsr|snakemake|make) [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.S)
    )
    return [*filter(None, lines), *spans]


FOUND = list(dict.fromkeys(command for page in PAGES for command in commands(page)))
# What starts the pipeline is planned only.
RUNS = [command for command in FOUND if command.startswith(("snakemake ", "hitsr run"))]
HITSR = [command for command in FOUND if command.startswith("hitsr ") and command not in RUNS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages speak of: the repository's files, a small Set5, weights, photographs."""
    folder = tmp_path_factory.mktemp("docs")
    for name in ("workflow", "reports", "configs", "ablations", "examples"):
        shutil.copytree(ROOT / name, folder / name)
    for name in ("Snakefile", "Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, folder)
    sources = folder / "reports/published/sources.csv"
    nowhere = r"\1,http://127.0.0.1:1"
    sources.write_text(re.sub(r"(?m)^(dataset,.*?),https?://[^/,]*", nowhere, sources.read_text()))
    (folder / "profiles").symlink_to("workflow/profiles")
    variants = "{to_64: {}, to_16: {windows.ratios: [0.5, 1, 1, 2, 2, 2]}}"
    page = f"question: Why?\nbase: hit_sir\nvariants: {variants}\nexpect: Less.\n"
    (folder / "ablations" / "narrow_windows.yaml").write_text(page)
    for place in ("data/Set5/HR", "photos"):
        noise = np.random.default_rng(0).integers(0, 256, (192, 192, 3), dtype=np.uint8)
        write_png(folder / place / "noise.png", noise)
    weights = folder / "weights" / "official"
    weights.mkdir(parents=True)
    torch.manual_seed(0)
    save_weights(create("hit_sir", 2), weights / "hit_sir_x2.safetensors", {})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        hitsr("hitsr prepare data/Set5 --out data/Set5 --scale 2")
        for results in ("a", "b", "demo"):
            hitsr(f"hitsr complexity --job {_count_job(Layout(Path('results') / results))}")
        shutil.copy("configs/demo.yaml", Layout(Path("results/demo")).config)
    return folder


def _count_job(layout: Layout) -> Path:
    """Write a job that counts a network on a small picture; returns its file."""
    subject = BuiltNetwork(network=NETWORKS["hit_sir"], scale=2)
    name = subject.name
    output, file = layout.output("complexity", name), layout.job("complexity", name)
    CountJob(name=name, output=output, subject=subject, output_size=(64, 64)).save(file)
    return file


def run(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    tool, *arguments = shlex.split(command)
    return subprocess.run(
        [TOOLS / tool if tool != "make" else "make", *arguments],
        cwd=folder,
        env={**os.environ, "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_pages_name_commands() -> None:
    assert len(FOUND) > 25


def test_commands_of_hitsr_run_in_their_order(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for command in HITSR:
        hitsr(command)


def hitsr(command: str) -> None:
    """Within this process: each would take seconds to start in one of its own."""
    done = CliRunner().invoke(app, shlex.split(command)[1:])
    expected = next((EXPECTED[begun] for begun in EXPECTED if command.startswith(begun)), {0})
    assert done.exit_code in expected, f"{command}\n{done.output}\n{done.exception!r}"


@pytest.mark.parametrize("command", RUNS)
def test_command_that_starts_the_pipeline_plans(folder: Path, command: str) -> None:
    planned = run(folder, command if " -n" in command else f"{command} -n")
    assert planned.returncode == 0, planned.stdout + planned.stderr


@pytest.mark.parametrize("command", [each for each in FOUND if each.startswith("make ")])
def test_command_of_make_has_its_target(folder: Path, command: str) -> None:
    planned = run(folder, f"{command} --dry-run")
    assert planned.returncode == 0, planned.stderr


def test_every_other_command_is_one_of_these() -> None:
    tools = {command.split()[0] for command in FOUND}
    assert tools <= {"hitsr", "snakemake", "make"}


def test_links_of_the_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
