"""`hitsr compare` in CI: its exit status, and what it prints."""

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from hitsr.cli import app
from hitsr.plan.jobs import CountJob, QualityJob
from hitsr.plan.layout import Layout
from hitsr.plan.subjects import BuiltNetwork, ControlMethod
from hitsr.records import PictureScore, Provenance, QualityRecord
from hitsr.specs.zoo import NETWORKS

PROVENANCE = Provenance(
    commit=None, dirty=None, versions={}, device="cpu", device_name="A CPU", threads=1,
    command="hitsr quality", seconds=1,
)  # fmt: skip


def results(folder: Path, *psnr_db: float) -> str:
    """A results folder with scores of bicubic alone."""
    layout, subject = Layout(folder), ControlMethod(network_name="bicubic", scale=2)
    job = QualityJob(
        name="bicubic-x2.test", subject=subject, dataset="test", data=Path("data/test")
    )
    job = job.model_copy(update={"output": layout.output("quality", job.name)})
    job.save(layout.job("quality", job.name))
    QualityRecord(
        subject=subject.name, job_hash=job.hash, provenance=PROVENANCE, method="bicubic",
        dataset="test", scale=2, border=2, signatures={"psnr": "psnr|v1", "ssim": "ssim|v1"},
        pictures=tuple(
            PictureScore(name=f"p{index}", psnr_db=score, ssim=0.9)
            for index, score in enumerate(psnr_db)
        ),
    ).save(layout.output("quality", job.name))  # fmt: skip
    return str(folder)


def compare(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["compare", *arguments])


@pytest.mark.parametrize(
    ("second", "options", "status"),
    [
        ((30, 31), (), 0),
        ((30.004, 31.004), (), 0),
        ((30.1, 31.1), (), 1),
        ((30.1, 31.1), ("--psnr", "0.2"), 0),
        ((30, 31), ("--only", "quality"), 0),
        ((30, 31), ("--only", "complexity"), 2),
        ((30, 31, 32), (), 1),
        ((30, 31), ("--only", "qualty"), 2),
        ((30, 31), ("--psnr", "-1"), 2),
    ],
)
def test_exit_status(tmp_path: Path, second: tuple[float, ...], options: tuple, status: int):
    a, b = results(tmp_path / "a", 30, 31), results(tmp_path / "b", *second)
    assert compare(a, b, *options).exit_code == status


def test_what_cannot_be_compared_is_told_on_stderr(tmp_path: Path):
    a = results(tmp_path / "a", 30)
    absent = compare(a, str(tmp_path / "absent"))
    assert (absent.exit_code, absent.stdout) == (2, "")
    assert "no records" in absent.stderr
    path = Path(a) / "records/quality/bicubic-x2.test.json"
    path.write_text(path.read_text()[:50])
    damaged = compare(a, a)
    assert damaged.exit_code == 2
    assert "bicubic-x2.test.json" in damaged.stderr


@pytest.mark.parametrize("options", [(), ("--common",)])
def test_a_record_that_cannot_be_used_makes_folders_not_comparable(tmp_path: Path, options: tuple):
    a, b = results(tmp_path / "a", 30, 31), results(tmp_path / "b", 30, 31)
    layout, subject = Layout(Path(b)), BuiltNetwork(network=NETWORKS["hit_sir"], scale=2)
    job = CountJob(name=subject.name, subject=subject, output_size=(1280, 720))
    job.save(layout.job("complexity", job.name))
    broken = layout.output("complexity", job.name)
    broken.parent.mkdir(parents=True)
    broken.write_text("[" * 3000 + "]" * 3000)
    found = compare(a, b, *options)
    assert found.exit_code == 2
    assert str(broken) in found.stderr
    assert compare(a, b, "--only", "quality").exit_code == 0


def test_machines_get_every_cell(tmp_path: Path):
    a, b = results(tmp_path / "a", 30, 31), results(tmp_path / "b", 30.5, 31.5)
    found = json.loads(compare(a, b, "--json").stdout)
    assert found["same"] is False
    psnr = next(cell for cell in found["cells"] if cell["quantity"] == "psnr")
    assert (psnr["a"], psnr["b"], psnr["significance"]["better"]) == (30.5, 31.0, 2)


def test_page_is_written_beside_the_text(tmp_path: Path):
    a = results(tmp_path / "a", 30, 31)
    reports = str(Path(__file__).parents[2] / "reports")
    done = compare(a, a, "--html", str(tmp_path / "page.html"), "--reports", reports)
    assert done.exit_code == 0
    assert "All 2 cells are the same." in done.stdout
    assert "All 2 cells are the same." in (tmp_path / "page.html").read_text()
