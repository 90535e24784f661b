"""Drills: the whole pipeline under kills, a full disk, folders that cannot be written, and files
that are not its own.

One pipeline of all kinds of jobs runs undisturbed; most drills work in copies of what it made.
"""

import base64
import ctypes
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from csv import DictReader
from pathlib import Path
from runpy import run_path
from typing import Any

import psutil
import pytest
import yaml

from hitsr.base.files import sha256
from hitsr.plan.planning import make_plan
from hitsr.report.gather import Results, gather
from hitsr.specs.config import load_config

pytestmark = pytest.mark.usefixtures("_heard_signals")

REPOSITORY = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent
DEADLINE_S = 1800  # far above what any step takes: it only ends what hangs
CONFIG: dict[str, Any] = run_path(str(REPOSITORY / "tests/tiny.py"))["tiny"](
    "drill",
    "A drill",
    train={"checkpoint_every": 5},
    recipe={"steps": 40, "log_every": 1, "validate_every": 40, "ema": 0.9},
    lam={"sets": ["test"], "scales": [2], "crop": 48},
)
RESULTS = Path("results/drill")
PAGE = RESULTS / "report/index.html"
RUN = RESULTS / "weights/swinir_light-x2-s1"
# What each kind of job computes until it has written its results, seconds of a processor.
KINDS = {
    "prepare": 0.6,
    "train": 4.0,
    "restore": 0.8,
    "quality": 0.7,
    "complexity": 4.0,
    "latency": 4.0,
    "lam": 4.0,
    "report": 5.0,
}


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}", **more}


def snakemake(
    folder: Path, *arguments: str, preexec: Callable[[], None] | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [TOOLS / "snakemake", "--cores", "2", *arguments, "--configfile", "drill.yaml"],
        cwd=folder, env=environment(**more), capture_output=True, text=True, timeout=DEADLINE_S,
        preexec_fn=preexec,
    )  # fmt: skip


def told(done: subprocess.CompletedProcess[str]) -> str:
    """All that a run says, which fails."""
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout + done.stderr


def succeeds(done: subprocess.CompletedProcess[str]) -> str:
    """All that a run says, which does not fail."""
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def new_place(folder: Path) -> Path:
    """A new folder with the workflow's files and the config."""
    for name in ("workflow", "reports"):
        shutil.copytree(REPOSITORY / name, folder / name)
    shutil.copy(REPOSITORY / "Snakefile", folder)
    (folder / "profiles").symlink_to("workflow/profiles")
    (folder / "ablations").mkdir()
    (folder / "drill.yaml").write_text(yaml.safe_dump(CONFIG))
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place where the pipeline ran once, and nothing disturbed it."""
    place = new_place(tmp_path_factory.mktemp("drills") / "finished")
    succeeds(snakemake(place))
    return place


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """A copy of that place, with its time stamps."""
    return Path(shutil.copytree(finished, tmp_path / "copy", symlinks=True))


def without_clocks(data: Any) -> Any:
    """Plain data without what differs between two runs of the same: times and memory."""
    clocks = {"provenance", "sessions", "seconds", "device_seconds", "samples_ms", "log_sha256"}
    clocks |= {"peak_memory_bytes", "before", "after"}
    match data:
        case dict():
            return {key: without_clocks(data[key]) for key in data if key not in clocks}
        case list():
            return [without_clocks(each) for each in data]
    return data


def hashes(folder: Path, pattern: str) -> dict[str, str]:
    return {str(p.relative_to(folder)): sha256(p) for p in sorted(folder.glob(pattern))}


def made(place: Path) -> dict[str, Any]:
    """All that a pipeline made but for clocks, by name: records, weights, pictures, the page."""
    folder = place / RESULTS
    found: dict[str, Any] = {}
    for path in [*folder.glob("[rwlp]*/**/*.json"), *folder.glob("weights/*/log.jsonl")]:
        if ".kept" not in path.parts and path.name != "summary.json":
            lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
            name = str(path.relative_to(folder))
            found[name] = [without_clocks(json.loads(line)) for line in lines]
    for pattern in ("weights/*/*.safetensors", "pictures/*/*.png", "lam/*/*.png"):
        found |= hashes(folder, pattern)
    for table in ("quality", "quality_pictures", "attribution", "gates"):
        found[table] = (folder / f"report/{table}.csv").read_text()
    page = (place / PAGE).read_text()
    found["headings"] = re.findall(r"<h[1-4].*?</h[1-4]>", page)
    with (folder / "report/claims.csv").open() as file:
        found["claims"] = [(row["claim"], row["part"], row["verdict"]) for row in DictReader(file)]
    found["files of the page"] = sorted(p.name for p in (folder / "report").rglob("*"))
    found["failed"] = "failed" in page.partition("<main")[2]
    return found


def outputs(place: Path) -> dict[str, tuple[int, int]]:
    """When each result that is there was made, and its file: (ns, inode), by path."""
    patterns = ("records/*/*.json", "weights/*/record.json", "lam/*/record.json")
    folder = place / RESULTS
    paths = [p for pattern in patterns for p in folder.glob(pattern)]
    paths += [p for p in folder.glob("pictures/*") if not p.name.startswith(".")]
    stats = {str(path.relative_to(place)): path.stat() for path in paths}
    return {path: (stat.st_mtime_ns, stat.st_ino) for path, stat in stats.items()}


def unfinished(place: Path) -> set[str]:
    """Results of the jobs that Snakemake began and did not see end."""
    names = (path.name for path in (place / ".snakemake/incomplete").iterdir())
    return {base64.b64decode(name, altchars=b"-_").decode() for name in names}


def verbs(pipeline: "subprocess.Popen[bytes]") -> dict[str, psutil.Process]:
    """Processes of hitsr below a pipeline, by their verb."""
    found = {}
    with suppress(psutil.Error):
        for each in psutil.Process(pipeline.pid).children(recursive=True):
            with suppress(psutil.Error):
                command = each.cmdline()
                if len(command) > 2 and Path(command[1]).name == "hitsr":
                    found[command[2]] = each
    return found


def wait_for_one_of(
    pipeline: "subprocess.Popen[bytes]", kinds: set[str]
) -> tuple[str, psutil.Process] | None:
    """The first process that does a job of one of these kinds; None if none is left to do."""
    while pipeline.poll() is None:
        for kind, process in verbs(pipeline).items():
            if kind in kinds:
                return kind, process
        time.sleep(0.2)  # no job ends as fast
    return None


def wait_until_computed(process: psutil.Process, seconds: float) -> None:
    """Wait until a process has computed this long, or ended: so load changes no moment."""
    with suppress(psutil.Error):
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            if process.cpu_times().user >= seconds:
                return
            time.sleep(0.02)


FEWEST = 3  # of the ten kills, where jobs end before they are found


def test_kills_at_random_moments_change_nothing_and_cost_what_was_running(
    finished: Path, tmp_path: Path
) -> None:
    seed = int(os.environ.get("HITSR_DRILL_SEED", time.time_ns() % 10**6))
    print(f"HITSR_DRILL_SEED={seed} repeats these moments")
    draw = random.Random(seed)
    place = new_place(tmp_path / "killed")
    ways = ["all"] * 3 + ["pipeline"] * 3 + ["job"] * 4
    draw.shuffle(ways)
    left, kept = set(KINDS), dict[str, tuple[int, int]]()
    pipeline: subprocess.Popen[bytes] | None = None
    said = (tmp_path / "said").open("wb")
    started = []
    try:
        for number, way in enumerate(ways):
            if pipeline is None or pipeline.poll() is not None:
                pipeline = subprocess.Popen(
                    [TOOLS / "snakemake", "--cores", "2", "--configfile", "drill.yaml"],
                    cwd=place, env=environment(), start_new_session=True,
                    stdout=said, stderr=said,
                )  # fmt: skip
                started.append(pipeline)
            found = wait_for_one_of(pipeline, left if number > 1 else set(KINDS))
            if found is None:  # the other kinds were done beside those that were waited for
                assert number >= FEWEST
                break
            kind, job = found
            if number > 1:
                left.discard(kind)  # then one in each kind
            share = draw.uniform(0, 1.1)
            wait_until_computed(job, share * KINDS[kind])
            print(f"kill {number + 1}: {way}, at {share:.2f} of {kind}")
            if way == "job":
                with suppress(psutil.Error):
                    job.kill()  # which the pipeline repeats
                continue
            # What was made before and nobody touches now must stay.
            if way == "all":
                os.killpg(pipeline.pid, signal.SIGKILL)
            pipeline.kill()
            pipeline.wait()
            before = outputs(place)
            kept |= {path: before[path] for path in before.keys() - unfinished(place)}
        if pipeline is not None:
            assert pipeline.wait(DEADLINE_S) in (0, -signal.SIGKILL), (
                tmp_path / "said"
            ).read_text()
    finally:
        for each in started:
            with suppress(ProcessLookupError):
                os.killpg(each.pid, signal.SIGKILL)
            each.wait()
        said.close()
    succeeds(snakemake(place))
    assert made(place) == made(finished)
    now = outputs(place)
    assert {path for path in kept if now[path] != kept[path]} == set()
    assert not [p for p in (place / RESULTS).rglob(".hitsr-*") if p.parent.name != "report"]


def hitsr_with(folder: Path, before: str) -> str:
    """Search path whose `hitsr` first does something else in its shell."""
    verb = folder / "hitsr"
    verb.write_text(f"""#!/bin/bash\n{before}\nexec '{TOOLS}/hitsr' "$@"\n""")
    verb.chmod(0o755)
    return f"{folder}{os.pathsep}{TOOLS}{os.pathsep}{os.environ['PATH']}"


def test_no_room_for_record_checkpoint_picture_and_page(
    finished: Path, copy: Path, tmp_path: Path
) -> None:
    shutil.rmtree(copy / RUN)
    shutil.rmtree(copy / RESULTS / "pictures/bicubic-x2.test")
    (copy / RESULTS / "records/quality/hr-x2.test.json").unlink()
    before = outputs(copy)
    # The system refuses to write more than 2048 bytes of any file: logs are shorter.
    said = told(snakemake(copy, PATH=hitsr_with(tmp_path, "ulimit -f 2")))
    summary = said.partition(" failed:\n")[2]
    for job, file in {
        "quality hr-x2.test": RESULTS / "records/quality/hr-x2.test.json",
        "train swinir_light-x2-s1": RUN / "checkpoints/00000005-",
        "restore bicubic-x2.test": RESULTS / "pictures/.kept",
    }.items():
        (line,) = (each for each in summary.splitlines() if each.startswith(f"  {job}: "))
        assert str(file) in line
        assert "File too large" in line
    assert f"hitsr: {RESULTS}/report/" in said  # which has no room either
    assert not (copy / RESULTS / "pictures/bicubic-x2.test").exists()
    assert not (copy / RESULTS / "records/quality/hr-x2.test.json").exists()
    assert {p.name for p in (copy / RUN).iterdir() if p.is_file()} <= {"log.part.jsonl"}
    assert not [*(copy / RUN / "checkpoints").glob("*")]
    assert not [*(copy / RESULTS).rglob(".hitsr-*.part")]
    now = outputs(copy)
    assert {path for path in before if now.get(path) != before[path]} == set()
    succeeds(snakemake(copy))
    assert made(copy) == made(finished)


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A disk of this size in bytes; skips the test where none can be mounted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "drill", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        why = getattr(error, "stderr", "") or error
        pytest.skip(f"no disk can be mounted here, which root may: {why}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_elsewhere_stops_with_its_name_and_the_run_goes_on_once_there_is_room(
    copy: Path, tmp_path: Path
) -> None:
    cell = f"{RESULTS}/records/quality/bicubic-x2.test.json"
    pictures = copy / RESULTS / "pictures/bicubic-x2.test"
    before = hashes(pictures, "*.png")
    with small_disk(tmp_path / "disk", 64_000_000) as disk:
        shutil.copytree(copy / "results", disk / "results", copy_function=shutil.copy2)
        shutil.rmtree(copy / "results")
        (copy / "results").symlink_to(disk / "results")
        made_before = outputs(copy)
        shutil.rmtree(pictures)
        (copy / cell).unlink()
        ballast = disk / "ballast"

        def leave(room: int) -> None:
            ballast.unlink(missing_ok=True)
            with ballast.open("wb") as file:
                file.write(bytes(shutil.disk_usage(disk).free - room))

        leave(0)
        said = told(snakemake(copy, cell))
        assert "[Errno 28] No space left on device: 'results/" in said
        assert "Traceback" not in said
        leave(200_000)
        said = told(snakemake(copy, cell))
        (line,) = (each for each in said.splitlines() if each.startswith("  restore bicubic"))
        assert "No space left on device" in line
        assert not pictures.exists()
        ballast.unlink()
        succeeds(snakemake(copy, cell))
        assert hashes(pictures, "*.png") == before
        now = outputs(copy)  # the move made no other job run again
        assert {path for path in now if now[path] != made_before[path]} == {
            cell, str(pictures.relative_to(copy)),
        }  # fmt: skip


def without_powers() -> None:
    """Take root's right to write everywhere from the process that will be started."""
    if os.geteuid() == 0:
        drop_from_bounding_set, override = 24, 1  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE
        if ctypes.CDLL(None).prctl(drop_from_bounding_set, override, 0, 0, 0):
            os._exit(75)


@contextmanager
def read_only(*folders: Path) -> Iterator[None]:
    """No file can be made in these folders, nor below, while the block lasts."""
    inner = [each for folder in folders for each in (folder, *folder.rglob("*")) if each.is_dir()]
    modes = {folder: folder.stat().st_mode for folder in inner}
    try:
        for folder in inner:
            folder.chmod(0o555)
        yield
    finally:
        for folder, mode in modes.items():
            folder.chmod(mode)


def test_sets_caches_and_home_may_be_read_only(copy: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    shutil.rmtree(copy / RUN)
    shutil.rmtree(copy / RESULTS / "records/prepare")
    caches = {"HOME": str(home), "HITSR_CACHE": str(home), "XDG_CACHE_HOME": str(home)}
    command = (f"{RUN}/record.json",)
    with read_only(copy / "data", home):
        said = told(snakemake(copy, *command, preexec=without_powers, **caches))
        reason = f"hitsr: {home}/snakemake: Permission denied; Snakemake needs this folder"
        assert said.splitlines()[-1].startswith(reason)
        caches["XDG_CACHE_HOME"] = str(tmp_path)
        succeeds(snakemake(copy, *command, preexec=without_powers, **caches))


def test_results_that_cannot_be_written_are_told_in_a_sentence(copy: Path) -> None:
    (copy / RESULTS / "records/quality/hr-x2.test.json").unlink()
    with read_only(copy / "results"):
        said = told(snakemake(copy, preexec=without_powers))
    assert re.search(r"cannot write job files: .*Permission denied: '.*results/", said), said
    assert "Traceback" not in said


def test_two_pipelines_that_prepare_the_same_set_at_once_both_end_well(tmp_path: Path) -> None:
    place = new_place(tmp_path / "two")
    cell = "records/quality/bicubic-x2.test.json"
    for name in ("one", "two"):
        (place / f"{name}.yaml").write_text(yaml.safe_dump({**CONFIG, "name": name}))
    running = [
        subprocess.Popen(
            [TOOLS / "snakemake", "--cores", "1", f"results/{name}/{cell}",
             "--configfile", f"{name}.yaml"],
            cwd=place, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True,
        )
        for name in ("one", "two")
    ]  # fmt: skip
    said = [each.communicate(timeout=DEADLINE_S)[0] for each in running]
    assert [each.returncode for each in running] == [0, 0], "\n".join(said)
    one, two = (
        json.loads((place / f"results/{name}/{cell}").read_text()) for name in ("one", "two")
    )
    assert without_clocks(one) == without_clocks(two)


def gathered(place: Path) -> Results:
    """What a page of the results would show and refuse."""
    before = Path.cwd()
    os.chdir(place)
    try:
        return gather(make_plan(load_config(Path("drill.yaml")), {}))
    finally:
        os.chdir(before)


def test_files_of_other_jobs_are_refused_by_name_and_made_anew_once_deleted(
    finished: Path, copy: Path
) -> None:
    folder, records = copy / RESULTS, copy / RESULTS / "records"
    cost = records / "complexity/swinir_light-x2.json"
    old = json.loads(cost.read_text()) | {"schema": "complexity/1"}
    cost.write_text(json.dumps(old))
    of_hr = (records / "quality/hr-x2.test.json").read_bytes()
    (records / "quality/swinir_light-x2-s1.test.json").write_bytes(of_hr)
    for path in (folder / "pictures/hr-x2.test").glob("*.png"):
        shutil.copy(path, folder / "pictures/bicubic-x2.test")
    os.utime(folder / "pictures/bicubic-x2.test")
    (folder / "jobs/lam/swinir_light-x2-s1.test.json").write_bytes(b"\xff")
    (folder / "jobs/quality/copy.json").write_text("{}")
    (folder / "seen/test-x2.json").write_bytes(b"\xff")
    weights = copy / RUN / "weights.safetensors"
    own = weights.read_bytes()
    weights.write_bytes(own[:-4] + b"\0\0\0\0")
    problems = "\n".join(gathered(copy).problems)
    assert f"{RUN}/weights.safetensors changed since; delete {RUN} and rerun" in problems
    weights.write_bytes(own)
    shutil.copystat(finished / RUN / weights.name, weights)
    problems = "\n".join(gathered(copy).problems)
    assert (
        f"{RESULTS}/records/complexity/swinir_light-x2.json: schema is 'complexity/1'" in problems
    )
    assert "holds hr-x2 as job " in problems
    assert f"{RESULTS}/jobs/quality/copy.json: not a job file of this version" in problems
    pictures = f"{RESULTS}/pictures/bicubic-x2.test"
    anew = f"delete {pictures} and rerun"
    assert f"{pictures}/astronaut.png and 2 more changed since; {anew}" in problems
    # Nor does the job that would score them.
    score = f"{RESULTS}/records/quality/bicubic-x2.test.json"
    (copy / score).unlink()
    assert f"astronaut is not as bicubic-x2 made it; {anew}" in told(snakemake(copy, score))
    for name in re.findall(r"^(\S+?): .*; delete it and rerun$", problems, re.M):
        (copy / name).unlink()
    shutil.rmtree(folder / "pictures/bicubic-x2.test")
    (folder / "jobs/quality/copy.json").unlink()
    names = ("complexity/swinir_light-x2", "quality/swinir_light-x2-s1.test")
    others = [f"{RESULTS}/records/{name}.json" for name in names]
    succeeds(snakemake(copy, score, *others))
    assert gathered(copy).problems == []
    assert made(copy) == made(finished)
