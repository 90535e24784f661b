"""A pipeline with a training, through the profile of Slurm to its report, on a real Slurm.

Its node is drained meanwhile and brought back. Its training is cut twice: by the limit of its time,
and as by another job that is preferred.
"""

import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from runpy import run_path
from typing import Any, NamedTuple

import psutil
import pytest
import yaml

from hitsr.plan.jobs import read_job
from hitsr.records import TrainingRecord

pytestmark = pytest.mark.usefixtures("_heard_signals")

REPOSITORY = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent
DEADLINE_S = 1800  # far above what any step takes: it only ends what hangs
WARNED_S = 240  # before the limit of its time, a training is told
# Two processes train in one task of Slurm.
CONFIG: dict[str, Any] = run_path(str(REPOSITORY / "tests/tiny.py"))["tiny"](
    "trained",
    "One training in the jobs of a cluster",
    train={"gpus": 2, "threads": 2, "checkpoint_every": 20},
    recipe={"steps": 300, "batch": 2, "parts": 2, "log_every": 1, "validate_every": 150},
)
TRAINING = Path("results/trained/weights/swinir_light-x2-s1")


class Row(NamedTuple):
    """A job in the queue, as squeue shows it."""

    number: str
    rule: str  # train_wildcards_swinir_light-x2-s1
    state: str
    partition: str
    limit: str
    memory: str
    cpus: str
    reason: str


class Seen(NamedTuple):
    """What became of the pipeline, and what was seen of it."""

    folder: Path
    status: int
    said: str
    queue: list[list[Row]]  # at one moment after another
    while_drained: list[list[Row]]  # after the jobs that were running had ended


def asked(*command: str) -> str:
    """What a command of Slurm prints."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def queue() -> list[Row]:
    lines = asked("squeue", "--noheader", "--format", "%i|%k|%T|%P|%l|%m|%C|%r").splitlines()
    rows = [Row(*line.split("|")) for line in lines]
    return [row._replace(rule=row.rule.removeprefix("rule_")) for row in rows]


class Watched:
    """Looks at the queue while the pipeline runs."""

    def __init__(self, pipeline: subprocess.Popen[str]) -> None:
        self.pipeline, self.seen = pipeline, list[list[Row]]()

    def until(self, what: Any) -> list[Row]:
        """Look until it is so; the rows of that moment."""
        latest = time.monotonic() + DEADLINE_S
        while True:
            is_over = self.pipeline.poll() is not None
            rows = queue()
            self.seen.append(rows)
            if what(rows):
                return rows
            assert not is_over, f"the pipeline ended; then the queue was {rows}"
            assert time.monotonic() < latest, rows
            time.sleep(0.5)


@contextmanager
def frozen_training(folder: Path) -> Iterator[list[psutil.Process]]:
    """Stop the processes of the training; they go on after the block."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if {"train", "--job"} <= {*process.cmdline()} and process.cwd() == str(folder):
                process.suspend()
                found.append(process)
    try:
        yield found
    finally:
        for process in found:
            with suppress(psutil.Error):
                process.resume()


def is_warned(process: psutil.Process) -> bool:
    """Whether SIGUSR1 waits for a stopped process."""
    with suppress(OSError):  # it ended before it was stopped
        status = Path(f"/proc/{process.pid}/status").read_text()
        waiting = next(line for line in status.splitlines() if line.startswith("ShdPnd:"))
        return bool(int(waiting.split()[1], 16) >> (signal.SIGUSR1 - 1) & 1)
    return False


def states(rows: list[Row], *names: str) -> list[Row]:
    return [row for row in rows if row.state in names]


def profile(folder: Path) -> Path:
    """The profile as it is, with the table that this cluster calls for."""
    table = yaml.safe_load((REPOSITORY / "workflow/profiles/slurm/config.yaml").read_text())
    table["cores"] = 2
    table["default-resources"] |= {"slurm_partition": "small", "mem_mb": 1000}
    rows = table["set-resources"]
    rows["complexity"] |= {"runtime": 30}
    rows["restore"] |= {"gpu": 1, "mem_mb": 1500}  # though it needs none: there is a stand-in
    rows["latency"] |= {"mem_mb": 1600, "slurm_partition": "large"}
    rows["train"] |= {"mem_mb": 1700, "runtime": 600}
    rows["train"]["slurm_extra"] = rows["train"]["slurm_extra"].replace("@300", f"@{WARNED_S}")
    assert f"USR1@{WARNED_S}" in rows["train"]["slurm_extra"]
    # This Slurm has no database of jobs; and the test has less patience than a user.
    table |= {"slurm-status-command": "squeue", "slurm-init-seconds-before-status-checks": 1}
    table["slurm-keep-successful-logs"] = True
    (folder / "config.yaml").write_text(yaml.safe_dump(table))
    return folder


@pytest.fixture(scope="module")
def seen(slurm: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    folder = tmp_path_factory.mktemp("cluster")
    for name in ("workflow", "reports", "ablations"):
        shutil.copytree(REPOSITORY / name, folder / name)
    shutil.copy(REPOSITORY / "Snakefile", folder)
    (folder / "own").mkdir()
    (folder / "trained.yaml").write_text(yaml.safe_dump(CONFIG))
    command = [TOOLS / "snakemake", "--workflow-profile", profile(folder / "own")]
    path = f"{TOOLS}{os.pathsep}{os.environ['PATH']}"
    with (slurm / "pipeline.txt").open("w+") as said:
        pipeline = subprocess.Popen(
            [*command, "--configfile", "trained.yaml"],
            cwd=folder, env={**os.environ, "PATH": path}, stdout=said, stderr=said, text=True,
        )  # fmt: skip
        try:
            watched = Watched(pipeline)
            while_drained = drain_and_resume(watched)
            cut_training(watched, folder)
            status = pipeline.wait(timeout=DEADLINE_S)
        except BaseException:
            print((slurm / "pipeline.txt").read_text())
            raise
        finally:
            pipeline.kill()
            pipeline.wait()
        said.seek(0)
        yield Seen(folder, status, said.read(), watched.seen, while_drained)


def drain_and_resume(watched: Watched) -> list[list[Row]]:
    """Drain the node while jobs run and others wait, and bring it back once none runs any more."""
    node = f"NodeName={platform.node().partition('.')[0]}"
    watched.until(lambda rows: states(rows, "RUNNING") and states(rows, "PENDING"))
    asked("scontrol", "update", node, "State=DRAIN", "Reason=test")
    watched.until(lambda rows: not states(rows, "RUNNING", "COMPLETING"))
    begin = len(watched.seen)
    watched.until(lambda _: len(watched.seen) > begin + 10)
    asked("scontrol", "update", node, "State=RESUME")
    return watched.seen[begin:]


def cut_training(watched: Watched, folder: Path) -> None:
    """Have the training meet the limit of its time between two steps; its job starts again."""
    row = wait_for_steps(watched, folder, 0)
    with frozen_training(folder) as processes:
        spent = asked("squeue", "--noheader", "--job", row.number, "--format", "%M")
        *hours, minutes, _ = spent.split(":")
        assert not hours
        # Limits are whole minutes. This one leaves less time than the training is warned before.
        limit = int(minutes) + WARNED_S // 60 + 1
        asked("scontrol", "update", f"JobId={row.number}", f"TimeLimit={limit}")
        taken = steps(folder)
        # Some versions of Slurm wake what they warn, and it puts its job back at once.
        watched.until(lambda _: any(map(is_warned, processes)) or is_back(row))
    watched.until(lambda _: is_back(row))
    asked("scontrol", "update", f"JobId={row.number}", "TimeLimit=600")
    # What Slurm does with a job that makes room for another.
    wait_for_steps(watched, folder, taken + 20)
    asked("scontrol", "requeue", row.number)


def is_back(row: Row) -> bool:
    """Whether a job was put back into the queue, once."""
    return "Restarts=1" in asked("scontrol", "show", "job", row.number)


def steps(folder: Path) -> int:
    """How many steps the training has taken."""
    log = folder / TRAINING / "log.part.jsonl"
    return len(log.read_bytes().splitlines()) if log.is_file() else 0


def wait_for_steps(watched: Watched, folder: Path, taken: int) -> Row:
    """Wait until the training has taken more steps than that; its job."""
    rows = watched.until(lambda _: steps(folder) > taken)
    (found,) = (row for row in rows if row.rule.startswith("train"))
    return found


def test_the_pipeline_ends_in_its_report(seen: Seen) -> None:
    assert seen.status == 0, seen.said
    page = (seen.folder / "results/trained/report/index.html").read_text()
    assert CONFIG["title"] in page
    assert "jobs failed" not in page
    assert len(list(seen.folder.glob("results/trained/records/quality/*.json"))) == 3


def test_every_job_asks_for_what_its_row_of_the_table_says(seen: Seen) -> None:
    rows = {row.rule: row for rows in seen.queue for row in rows if row.state == "PENDING"}
    rows |= {row.rule: row for rows in seen.queue for row in rows if row.state == "RUNNING"}
    found = {
        rule.partition("_wildcards_")[0]: (row.partition, row.memory, row.cpus)
        for rule, row in rows.items()
    }
    assert found == {
        "complexity_x2": ("small", "16000M", "1"),
        "latency_x2_cpu": ("large", "1600M", "8"),  # the whole node, of which it uses two
        "train": ("small", "1700M", "2"),
        "restore": ("small", "1500M", "2"),
        "quality": ("small", "1000M", "1"),
    }
    assert {row.limit for row in rows.values()} == {"30:00", "2:00:00", "10:00:00"}


def test_a_gpu_is_never_given_to_two_jobs(seen: Seen) -> None:
    moments = [[row for row in rows if row.rule.startswith("restore")] for rows in seen.queue]
    assert max(len(states(rows, "RUNNING")) for rows in moments) == 1
    waits = [row for rows in moments if states(rows, "RUNNING") for row in states(rows, "PENDING")]
    assert "Resources" in {row.reason for row in waits}


def test_no_job_runs_beside_a_timing(seen: Seen) -> None:
    running = [states(rows, "RUNNING") for rows in seen.queue]
    timings = [rows for rows in running if any("latency" in row.rule for row in rows)]
    assert timings
    assert {len(rows) for rows in timings} == {1}


def test_jobs_wait_for_a_drained_node_and_start_when_it_is_back(seen: Seen) -> None:
    waiting = {row.number for rows in seen.while_drained for row in rows}
    assert waiting
    assert {row.state for rows in seen.while_drained for row in rows} == {"PENDING"}
    started = {row.number for rows in seen.queue for row in states(rows, "RUNNING")}
    assert waiting <= started


def test_a_training_that_is_cut_goes_on_in_the_same_job(seen: Seen) -> None:
    rows = [row for rows in seen.queue for row in rows if row.rule.startswith("train")]
    (number,) = {row.number for row in rows}
    record = TrainingRecord.load(seen.folder / TRAINING / "record.json")
    begins = [session.first_step for session in record.sessions]
    assert len(begins) == 3
    assert {session.devices for session in record.sessions} == {2}
    steps = ", ".join(map(str, begins))
    assert f"train swinir_light-x2-s1: 3 sessions, from steps {steps}\n" in seen.said
    # Each session has saved its last step, and the first has put its job back into the queue.
    (log,) = seen.folder.glob(f".snakemake/slurm_logs/rule_train/**/{number}.log")
    said = log.read_text()
    for begin in begins[1:]:
        assert (
            f"step {begin - 1} of {CONFIG['train']['recipe']['steps']} is saved; the same" in said
        )
    assert said.count(f"job {number} of Slurm goes back into the queue") == 1


def test_no_process_of_a_job_outlives_it(seen: Seen) -> None:
    """Neither those that were ended by a signal while they told of an error."""
    left = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cwd() == str(seen.folder):
                left.append(process)
    _, alive = psutil.wait_procs(left, timeout=DEADLINE_S / 10)
    commands = [process.cmdline() for process in alive]
    for process in alive:
        process.kill()
    assert commands == []


def test_a_training_that_is_cut_ends_in_the_same_bytes(seen: Seen, tmp_path: Path) -> None:
    """As one of a single process that was never stopped."""
    file = seen.folder / "results/trained/jobs/train/swinir_light-x2-s1.json"
    job = read_job(file, "train")
    uncut = job.model_copy(update={"gpus": 1, "output": tmp_path / "record.json"})
    uncut.save(tmp_path / "job.json")
    done = subprocess.run(
        [TOOLS / "hitsr", "train", "--job", tmp_path / "job.json", "--threads", "1"],
        cwd=seen.folder, capture_output=True, text=True, timeout=DEADLINE_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    cut = (seen.folder / TRAINING / "weights.safetensors").read_bytes()
    assert (tmp_path / "weights.safetensors").read_bytes() == cut
