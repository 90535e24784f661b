"""The pipeline under faults: failing jobs, a full disk, kills at any moment, two at once."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from hitsr.records import LogLine, TrainingRecord, read_log

pytestmark = pytest.mark.usefixtures("_heard_signals")

REPOSITORY = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent
DEADLINE_S = 1800  # far above what any step takes: it only ends what hangs
EFFICIENCY = {
    "scales": [2],
    "output_size": [48, 32],
    "latency": {"scales": [2], "warmup": 0, "samples": 1, "device": "cpu"},
}
DATA = {"root": "data/tiny", "source": "wheels", "test": ["test"]}
# Of two networks of one's own, one fails while there is a file called `ill`.
MEASURED: dict[str, Any] = {
    "name": "measured",
    "title": "Two networks of one’s own",
    "networks": ["hit_sir"],
    "own": {
        "mine": {"source": "own.py:build", "scales": [2]},
        "weak": {"source": "own.py:weak", "scales": [2]},
    },
    "data": DATA,
    "efficiency": EFFICIENCY,
}
OWN = """
from pathlib import Path
import torch

class Own(torch.nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(3, 3 * scale**2, 3, padding=1), torch.nn.PixelShuffle(scale))

    def forward(self, x):
        return self.layers(x)

class Weak(Own):
    def forward(self, x):
        if Path("ill").exists():
            raise ValueError("too weak for this picture")
        return super().forward(x)

def build(scale):
    return Own(scale)

def weak(scale):
    return Weak(scale)
"""
# One training of some seconds, and nothing else that takes time.
TRAINED: dict[str, Any] = {
    "name": "trained",
    "title": "One training",
    "networks": ["swinir_light"],
    "data": {**DATA, "train": "train", "validation": "test"},
    "train": {
        "scales": [2],
        "device": "cpu",
        "checkpoint_every": 20,
        "changes": {"depths": [1], "width": 24, "windows.base": 4, "windows.ratios": [1]},
        "recipe": {
            "steps": 100,
            "batch": 1,
            "patch": 8,
            "learning_rate": 1e-3,
            "log_every": 1,
            "validate_every": 50,
            "ema": 0.9,
        },
    },
    "efficiency": EFFICIENCY,
}
LOG = "results/trained/logs/train/swinir_light-x2-s1.log"
RUN = "results/trained/weights/swinir_light-x2-s1"
TRAIN = (f"{RUN}/record.json", "--configfile", "trained.yaml")


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}", **more}


def snakemake(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [TOOLS / "snakemake", "--cores", "2", *arguments],
        cwd=folder, env=environment(**more), capture_output=True, text=True, timeout=DEADLINE_S,
    )  # fmt: skip


def told(done: subprocess.CompletedProcess[str]) -> str:
    """All that a run says, which fails."""
    assert done.returncode != 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workflow's files, two configs and two networks in a folder of their own."""
    folder = tmp_path_factory.mktemp("faults")
    for name in ("workflow", "reports", "ablations"):
        shutil.copytree(REPOSITORY / name, folder / name)
    shutil.copy(REPOSITORY / "Snakefile", folder)
    (folder / "profiles").symlink_to("workflow/profiles")
    for config in (MEASURED, TRAINED):
        (folder / f"{config['name']}.yaml").write_text(yaml.safe_dump(config))
    (folder / "own.py").write_text(OWN)
    return folder


@pytest.fixture(scope="module")
def ill(place: Path) -> tuple[Path, str]:
    """The folder after a run in which one of two networks failed, and what the run said."""
    (place / "ill").touch()
    return place, told(snakemake(place, "--configfile", "measured.yaml"))


def test_a_failed_network_is_told_last_with_reason_and_log(ill: tuple[Path, str]) -> None:
    _, said = ill
    summary = said.partition(" failed:\n")[2]
    for kind, name, log in (
        ("restore", "weak-x2.test", "restore/weak-x2.test"),
        ("latency", "weak-x2.cpu.own", "latency/latency_x2_cpu"),
        ("complexity", "weak-x2", "complexity/complexity_x2"),
    ):
        lines = summary.splitlines()
        (at,) = (n for n, line in enumerate(lines) if line.startswith(f"  {kind} {name}: "))
        assert "too weak for this picture" in lines[at]
        assert lines[at + 1] == f"    log: results/measured/logs/{log}.log"
    assert summary.count("log: ") == 3  # what waited for them did not fail


def test_a_failed_network_costs_neither_the_page_nor_its_neighbours(ill: tuple[Path, str]) -> None:
    results = ill[0] / "results/measured"
    kept = {path.name for path in (results / "records").glob("*/*.json")}
    assert {"mine-x2.json", "mine-x2.cpu.own.json", "hit_sir-x2.cpu.fused.json"} <= kept
    assert not any(name.startswith("weak") for name in kept)
    page = (results / "report/index.html").read_text()
    assert "3 jobs failed." in page
    for log in ("restore/weak-x2.test", "latency/latency_x2_cpu", "complexity/complexity_x2"):
        assert f"its log is results/measured/logs/{log}.log" in page


def test_a_mended_network_is_measured_alone_and_leaves_no_trace(ill: tuple[Path, str]) -> None:
    folder, _ = ill
    records = folder / "results/measured/records"
    files = [records / "latency/mine-x2.cpu.own.json", records / "complexity/hit_sir-x2.json"]
    before = [file.read_bytes() for file in files]
    (folder / "ill").unlink()
    done = snakemake(folder, "--configfile", "measured.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [file.read_bytes() for file in files] == before
    assert (records / "latency/weak-x2.cpu.own.json").is_file()
    page = (folder / "results/measured/report/index.html").read_text()
    assert "failed" not in page.partition("<main")[2]
    assert not list(folder.glob("results/measured/records/*/.kept/*/*"))
    again = snakemake(folder, "--configfile", "measured.yaml")
    assert "Nothing to be done" in again.stdout + again.stderr


PREPARED = "results/measured/records/prepare/test-x2.json"


@pytest.mark.parametrize(
    ("ends", "reason"),
    [
        ('exec {hitsr} "$@" --bogus', "No such option: --bogus"),
        ("echo work; echo \"hitsr: [Errno 28] No space left on device: 'a'\" >&2; exit 1",
         "[Errno 28] No space left on device: 'a'"),
        ("{python} -c 'raise MemoryError'", "MemoryError"),
        ("echo 3/9 pictures; kill -9 $$",
         "it was killed, exit status 137 (SIGKILL), as the system does where memory runs out"),
        ("exit 3", "it ended without a word, exit status 3"),
        ("exec no-such-program", "no-such-program: not found"),
    ],
)  # fmt: skip
def test_the_end_of_the_screen_says_why_a_job_failed(
    place: Path, tmp_path: Path, ends: str, reason: str
) -> None:
    (place / PREPARED).unlink(missing_ok=True)
    script = ends.format(hitsr=TOOLS / "hitsr", python=sys.executable)
    paths = in_place_of_hitsr(tmp_path, script)
    said = told(snakemake(place, PREPARED, "--configfile", "measured.yaml", PATH=paths))
    # Nothing is repeated that would only fail again.
    assert (tmp_path / "runs").read_text() == "run\n" * (3 if "SIGKILL" in reason else 1)
    summary = said.partition("1 failed:\n")[2]
    assert summary.splitlines()[0].startswith("  prepare test-x2: ")
    assert reason in summary.splitlines()[0]
    assert summary.splitlines()[1] == "    log: results/measured/logs/prepare/test-x2.log"


def in_place_of_hitsr(folder: Path, script: str) -> str:
    """Search path with a script as the command `hitsr`; a line of the file `runs` for each run."""
    verb = folder / "hitsr"
    verb.write_text(f"#!/bin/sh\necho run >> '{folder}/runs'\n{script}\n")
    verb.chmod(0o755)
    return f"{folder}{os.pathsep}{TOOLS}{os.pathsep}{os.environ['PATH']}"


def test_a_job_that_is_killed_twice_is_done_in_the_same_run(place: Path, tmp_path: Path) -> None:
    (place / PREPARED).unlink(missing_ok=True)
    third = f"""[ "$(wc -l < '{tmp_path}/runs')" = 3 ] && exec '{TOOLS}/hitsr' "$@"; kill -9 $$"""
    paths = in_place_of_hitsr(tmp_path, third)
    done = snakemake(place, PREPARED, "--configfile", "measured.yaml", PATH=paths)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "runs").read_text() == "run\n" * 3
    assert "failed:\n" not in done.stderr
    assert (place / PREPARED).is_file()


def test_a_log_that_cannot_be_written_is_told(place: Path) -> None:
    (place / PREPARED).unlink(missing_ok=True)
    logs = place / "results/measured/logs"
    shutil.rmtree(logs, ignore_errors=True)
    logs.write_text("a file in the place of a folder")
    try:
        said = told(snakemake(place, PREPARED, "--configfile", "measured.yaml"))
    finally:
        logs.unlink()
    assert "results/measured/logs" in said.partition("1 failed:\n")[2] or "Not a directory" in said


def test_job_files_that_cannot_be_written_are_told(place: Path) -> None:
    jobs = place / "results/measured/jobs"
    jobs.rename(jobs.parent / "aside")
    jobs.write_text("a file in the place of a folder")
    try:
        said = told(snakemake(place, PREPARED, "--configfile", "measured.yaml"))
    finally:
        jobs.unlink()
        (jobs.parent / "aside").rename(jobs)
    assert "cannot write job files: " in said
    assert str(jobs.relative_to(place)) in said


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(place: Path) -> Iterator[Start]:
    """Start the pipeline on the one training, as the leader of a group that ends with the test."""
    shutil.rmtree(place / RUN, ignore_errors=True)
    started: list[subprocess.Popen[str]] = []

    def run(*more: str) -> subprocess.Popen[str]:
        with (place / "said").open("w") as said:
            pipeline = subprocess.Popen(
                [TOOLS / "snakemake", "--cores", "2", *TRAIN, *more],
                cwd=place, env=environment(), start_new_session=True, text=True,
                stdout=subprocess.DEVNULL, stderr=said,
            )  # fmt: skip
        started.append(pipeline)
        return pipeline

    yield run
    for pipeline in started:
        with suppress(ProcessLookupError):
            os.killpg(pipeline.pid, signal.SIGKILL)
        pipeline.wait()


def wait_until(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.02)


def is_training(place: Path) -> bool:
    log = place / RUN / "log.part.jsonl"
    return log.is_file() and len(log.read_text().splitlines()) > 2


def has_begun(place: Path) -> bool:
    return (place / "results/.trained.writer").is_file()


Pipeline = "subprocess.Popen[str]"


def started_by(pipeline: Pipeline, *words: str) -> list[psutil.Process]:
    """Processes below a pipeline whose command line, without folders, begins with these words."""
    found = psutil.Process(pipeline.pid).children(recursive=True)
    return [
        each
        for each in found
        if tuple(Path(word).name for word in each.cmdline()[: len(words)]) == words
    ]


def trainings(pipeline: Pipeline) -> list[psutil.Process]:
    return started_by(pipeline, Path(sys.executable).name, "hitsr", "train")


def one(pipeline: Pipeline, *words: str) -> psutil.Process:
    (found,) = started_by(pipeline, *words)
    return found


KILLS: dict[str, Callable[[Pipeline], None]] = {
    "kill of all": lambda pipeline: os.killpg(pipeline.pid, signal.SIGKILL),
    "kill of what shows its words": lambda pipeline: one(pipeline, "tee").kill(),
}
# After which the training is saved.
REQUESTS: dict[str, Callable[[Pipeline], None]] = {
    "termination": lambda pipeline: pipeline.terminate(),
    "interrupt": lambda pipeline: os.killpg(pipeline.pid, signal.SIGINT),
    "closed terminal": lambda pipeline: os.killpg(pipeline.pid, signal.SIGHUP),
    "warning to the training": lambda pipeline: trainings(pipeline)[0].send_signal(signal.SIGUSR1),
}


@pytest.fixture(scope="module")
def unstopped(place: Path) -> tuple[bytes, list[LogLine]]:
    """The weights of the training that nothing stopped, and its log without clock."""
    done = snakemake(place, *TRAIN)
    assert done.returncode == 0, done.stdout + done.stderr
    return results(place)


def results(place: Path) -> tuple[bytes, list[LogLine]]:
    record = TrainingRecord.load(place / RUN / "record.json")
    clocks = {"seconds": 0, "device_seconds": 0}
    log = read_log(place / RUN / "log.jsonl", record)  # and of no other training
    weights = (place / RUN / "weights.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() == record.weights_sha256
    return weights, [line.model_copy(update=clocks) for line in log]


@pytest.mark.parametrize(
    ("moment", "kill"),
    # Drills kill the pipeline and all its processes while jobs of every kind are at work.
    [
        (has_begun, "kill of all"),
        (is_training, "kill of what shows its words"),
        *((is_training, request) for request in REQUESTS),
    ],
)
def test_the_same_command_goes_on_to_the_same_bytes_after(
    unstopped: tuple[bytes, list[LogLine]],
    place: Path,
    start: Start,
    moment: Callable[[Path], bool],
    kill: str,
) -> None:
    pipeline = start()
    wait_until(lambda: moment(place))
    (KILLS | REQUESTS)[kill](pipeline)
    pipeline.wait()
    done = snakemake(place, *TRAIN)
    assert done.returncode == 0, done.stdout + done.stderr
    assert results(place) == unstopped
    assert {path.name for path in (place / RUN).iterdir()} == {
        "record.json", "weights.safetensors", "log.jsonl", "checkpoints",
    }  # fmt: skip
    if kill in REQUESTS:
        record = TrainingRecord.load(place / RUN / "record.json")
        first, second = record.sessions
        assert (second.first_step, second.last_step) == (first.last_step + 1, 100)
        words = f"swinir_light-x2-s1: goes on from step {first.last_step} of 100"
        assert words in (place / LOG).read_text()
    if kill in ("termination", "warning to the training"):  # which the pipeline survives
        said = (place / "said").read_text()
        assert f"1 to be continued:\n  swinir_light-x2-s1: step {first.last_step} of 100" in said
        assert "failed:" not in said


def test_a_training_whose_pipeline_was_killed_is_waited_for_and_kept(
    place: Path, start: Start
) -> None:
    pipeline = start()
    wait_until(lambda: is_training(place))
    (training,) = trainings(pipeline)
    training.suspend()
    pipeline.kill()
    pipeline.wait()
    second = start()
    log = place / LOG
    words = f"process {training.pid}, since "
    wait_until(lambda: log.is_file() and words in log.read_text())
    training.resume()
    assert second.wait() == 0
    assert "its results are kept" in log.read_text()
    results(place)


def test_a_pipeline_that_is_asked_to_end_while_it_chooses_jobs_ends(place: Path) -> None:
    """Snakemake holds a lock meanwhile, which its answer to the signal waits for."""
    (place / "ended.yaml").write_text(yaml.safe_dump({**MEASURED, "name": "ended"}))
    (place / "ended.smk").write_text("""
import os, signal
from snakemake.scheduling.job_scheduler import JobScheduler

count = JobScheduler.update_available_resources


def end_then_count(self, selected):
    os.kill(os.getpid(), signal.SIGTERM)
    count(self, selected)


JobScheduler.update_available_resources = end_then_count


include: "workflow/Snakefile"
""")
    words = ("complexity_x2", "--snakefile", "ended.smk", "--configfile", "ended.yaml")
    said = told(snakemake(place, *words, "--workflow-profile", "profiles/default"))
    assert "Will exit after finishing currently running jobs" in said


def test_a_second_live_pipeline_is_refused(place: Path, start: Start) -> None:
    pipeline = start()
    wait_until(lambda: is_training(place))
    (training,) = trainings(pipeline)
    training.suspend()
    said = told(snakemake(place, *TRAIN))
    assert f"process {pipeline.pid}, since " in said
    assert "is at work here; wait until it has ended" in said
    dry = snakemake(place, "-n", *TRAIN)
    assert dry.returncode == 0, dry.stdout + dry.stderr
    training.resume()
    assert pipeline.wait() == 0
    results(place)


def test_a_training_that_is_killed_goes_on_from_its_checkpoint_in_the_same_run(
    unstopped: tuple[bytes, list[LogLine]], place: Path, start: Start
) -> None:
    pipeline = start()
    wait_until(lambda: any((place / RUN / "checkpoints").glob("*.safetensors")))
    trainings(pipeline)[0].kill()
    assert pipeline.wait() == 0
    assert results(place) == unstopped
    assert "swinir_light-x2-s1: goes on from step " in (place / LOG).read_text()
