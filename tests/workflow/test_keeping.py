"""Results that are kept: made twice alike, verified, moved, archived.

Two real runs of a tiny config that has every kind of job.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import yaml
from rocrate.rocrate import ROCrate
from rocrate.vocabs import RO_CRATE
from typer.testing import CliRunner

from hitsr.base.files import sha256
from hitsr.cli import app
from hitsr.data.images import write_png
from hitsr.plan.layout import Layout
from hitsr.plan.manifest import read_manifest

REPOSITORY = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent
CONFIG: dict[str, Any] = {
    "name": "kept",
    "title": "Made <twice>",
    "networks": ["swinir_light"],
    "data": {
        "root": "data", "source": "folder", "train": "big", "validation": "small",
        "test": ["small"],
    },
    "train": {
        "scales": [2],
        "device": "cpu",
        "threads": 2,  # more than the cores of one of the two runs
        "changes": {"depths": [1], "width": 24, "windows.base": 4, "windows.ratios": [1]},
        "recipe": {
            "steps": 4, "batch": 1, "patch": 8, "learning_rate": 1e-3, "milestones": [2],
            "log_every": 2, "validate_every": 4,
        },
    },
    "efficiency": {
        "scales": [2],
        "output_size": [48, 32],
        "latency": {"scales": [2], "formulations": ["fused"], "warmup": 0, "samples": 1,
                    "device": "cpu"},
    },
    "lam": {"sets": ["small"], "scales": [2], "crop": 24},
    "scaling": {"over": ["window"], "samples": 1},
}  # fmt: skip
RESULTS = Path("results/kept")
SHEET = str(Layout(RESULTS).map_sheet("small", 2))
# What differs between two runs, and why; all else must be equal. Files by pattern; fields by the
# pattern of their path within a JSON file, or within each line of one.
CLOCKS = {
    r"logs/.*": "what jobs said, with their times",
    r"weights/[^/]*/checkpoints/.*": "holds the log of the training, with its times",
}
_TIMED = r"records/(latency|scaling_time)/.*"
CLOCK_FIELDS = {
    (r".*\.json", r"provenance\.seconds"): "how long it took",
    (r".*\.json", r"provenance\.command"): "of the process, which may have begun with another job",
    (r".*/log\.jsonl", r"(device_)?seconds"): "how long it took until then",
    (r"weights/.*/record\.json", r"sessions\.\d+\.seconds"): "how long it took",
    (r"weights/.*/record\.json", r"log_sha256"): "of a log that holds times",
    (_TIMED, r"(.*\.)?(samples|warmup)_ms\.\d+"): "times",
    (_TIMED, r"(windows|pictures)\.law\..*"): "fitted to times",
    (_TIMED, r"peak_memory_bytes"): "of a process, which the system gives pages as it has them",
    (_TIMED, r"(before|after)\..*"): "clocks and load of the machine",
    (_TIMED, r"session"): "names forwards that took turns, one random name for each process",
    (_TIMED, r"settings\..*"): "ways to compute, of which the fastest depends on the threads",
    (_TIMED, r"provenance\.threads"): "timings use all cores of the run",
}


def run(folder: Path, *command: str) -> str:
    """What a command says that succeeds."""
    done = subprocess.run(
        [TOOLS / command[0], *command[1:]],
        cwd=folder,
        env={**os.environ, "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=1800,  # far above what any takes: it only ends what hangs
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def hitsr(*words: str | Path) -> tuple[int, str]:
    """Exit status and all that is said, within this process."""
    done = CliRunner().invoke(app, list(map(str, words)))
    said = f"{done.output}{done.exception or ''}"
    return done.exit_code, said


def made(folder: Path, cores: int) -> Path:
    """A working folder after a whole run."""
    for name in ("workflow", "reports", "ablations"):
        shutil.copytree(REPOSITORY / name, folder / name)
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    noise = np.random.default_rng(0)
    for name in ("big", "small"):
        picture = noise.integers(0, 256, (48, 48, 3), dtype=np.uint8)
        write_png(folder / "data" / name / "HR" / "one.png", picture)
    run(folder, "snakemake", "--cores", str(cores), "all", SHEET, "--configfile", "config.yaml")
    return folder


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two working folders after runs of the same config with one core and with two."""
    place = tmp_path_factory.mktemp("kept")
    return made(place / "a", 1), made(place / "another" / "place", 2)


def fields(data: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """Path and value of each field: `sessions.0.seconds`."""
    parts = (
        data.items()
        if isinstance(data, dict)
        else enumerate(data)
        if isinstance(data, list)
        else ()
    )
    for key, value in parts:
        yield from fields(value, f"{above}.{key}" if above else str(key))
    if not isinstance(data, dict | list):
        yield above, data


def without_clocks(name: str, file: Path) -> Any:
    """A file’s content, but for clocks."""
    if file.suffix not in (".json", ".jsonl"):
        return file.read_bytes()
    texts = file.read_text().splitlines() if file.suffix == ".jsonl" else [file.read_text()]
    here = [path for pattern, path in CLOCK_FIELDS if re.fullmatch(pattern, name)]
    return [
        [(k, v) for k, v in fields(json.loads(text)) if not any(re.fullmatch(p, k) for p in here)]
        for text in texts
    ]


def clocks_in(name: str, file: Path) -> set[str]:
    """The patterns of clocks that a file has."""
    here = [path for pattern, path in CLOCK_FIELDS if re.fullmatch(pattern, name)]
    texts = file.read_text().splitlines() if here else []
    lines = texts if file.suffix == ".jsonl" else ["\n".join(texts)] if texts else []
    keys = {key for text in lines for key, _ in fields(json.loads(text))}
    return {path for path in here for key in keys if re.fullmatch(path, key)}


def is_clock(name: str) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in CLOCKS)


def test_two_runs_make_the_same_but_for_clocks(twice: tuple[Path, Path]) -> None:
    a, b = (folder / RESULTS for folder in twice)
    names = [sorted(n for n in read_manifest(Layout(r)) if not is_clock(n)) for r in (a, b)]
    assert names[0] == names[1]
    kinds = {name.split("/")[1] for name in names[0] if name.startswith("records/")}
    assert kinds == {"prepare", "quality", "complexity", "latency", "scaling", "scaling_time"}
    compared = [name for name in names[0] if not name.startswith("report/")]
    assert {"lam", "pictures", "weights"} < {name.split("/")[0] for name in compared}
    differing = [n for n in compared if without_clocks(n, a / n) != without_clocks(n, b / n)]
    assert differing == []
    listed = {path for _, path in CLOCK_FIELDS}
    used = {path for name in compared for path in clocks_in(name, a / name)}
    assert used == listed


def test_pages_differ_in_nothing_but_what_clocks_say(
    twice: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = (folder / RESULTS for folder in twice)
    place = tmp_path / "b with the clocks of a"
    shutil.copytree(twice[1], place, ignore=shutil.ignore_patterns(".snakemake"))
    for name in read_manifest(Layout(a)):
        if is_clock(name) or clocks_in(name, a / name):
            shutil.copy(a / name, place / RESULTS / name)
    monkeypatch.chdir(place)
    assert hitsr("report", "config.yaml")[0] == 0
    names = [name for name in read_manifest(Layout(a)) if name.startswith("report/")]
    assert len(names) > 20
    pages = [name for name in names if sha256(a / name) != sha256(place / RESULTS / name)]
    assert pages == []
    assert sha256(a / "report/index.html") != sha256(b / "report/index.html")


def test_results_under_another_name_and_in_another_place_are_as_they_were(
    twice: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = twice[0] / RESULTS
    assert hitsr("verify", before)[0] == 0
    for name in ("workflow", "reports", "ablations"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**CONFIG, "name": "moved"}))
    moved = tmp_path / "results/moved"
    shutil.copytree(before, moved)
    monkeypatch.chdir(tmp_path)
    assert hitsr("verify", moved)[0] == 0
    # Neither the pictures nor what Snakemake noted of the run came along.
    said = run(tmp_path, "snakemake", "--cores", "1", "-n", "--configfile", "config.yaml")
    assert "Nothing to be done" in said
    status, said = hitsr("compare", before, moved)
    assert status == 0, said
    assert hitsr("index", "results")[0] == 0
    assert "results/moved" not in (moved / "report/index.html").read_text()


def test_an_archive_is_whole_describes_itself_and_is_made_alike_again(
    twice: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(twice[0])
    said_of_it = ["--author", "Ada Lovelace <https://orcid.org/0000-0002-1825-0097>"]
    said_of_it += ["--license", "CC-BY-4.0", "--published", "2026-11-28"]
    files = [tmp_path / "one.zip", tmp_path / "two.zip"]
    for file in files:
        status, said = hitsr("archive", RESULTS, "--out", file, *said_of_it)
        assert status == 0, said
    assert sha256(files[0]) == sha256(files[1])
    status, said = hitsr("archive", RESULTS, "--out", tmp_path / "folder", *said_of_it)
    assert status == 0, said
    place = tmp_path / "unpacked"
    with zipfile.ZipFile(files[0]) as archive:
        archive.extractall(place)
    both = [
        {p.relative_to(f): sha256(p) for p in f.rglob("*") if p.is_file()}
        for f in (place, tmp_path / "folder")
    ]
    assert both[0] == both[1]
    check_crate(place)
    packed = read_manifest(Layout(place / RESULTS))
    every = read_manifest(Layout(RESULTS))
    assert packed.items() < every.items()
    left_out = {
        name.split("/")[0] + "/" * ("checkpoints" in name) for name in every.keys() - packed.keys()
    }
    assert left_out == {"pictures", "weights/"}
    monkeypatch.chdir(place)
    status, said = hitsr("verify", RESULTS)
    assert (status, f"{len(packed)} files are as listed" in said) == (0, True), said
    assert hitsr("report", RESULTS / "config.yaml")[0] == 0
    assert not (place / "data").exists()


def check_crate(place: Path) -> None:
    """What RO-Crate 1.1, Process and Workflow Run Crate 0.5 and Workflow RO-Crate 1.0 demand."""
    metadata = json.loads((place / "ro-crate-metadata.json").read_text())
    context, graph = metadata["@context"], metadata["@graph"]
    assert context[0] == "https://w3id.org/ro/crate/1.1/context"
    terms = {key for entity in graph for key in entity} | {
        kind
        for e in graph
        for kind in ([e["@type"]] if isinstance(e["@type"], str) else e["@type"])
    }
    assert {t for t in terms if not t.startswith("@")} <= RO_CRATE["@context"].keys()
    assert len({entity["@id"] for entity in graph}) == len(graph)
    known = {entity["@id"]: entity for entity in graph}
    referred = {
        each["@id"]
        for entity in graph
        for value in entity.values()
        for each in (value if isinstance(value, list) else [value])
        if isinstance(each, dict)
    }
    outside = {"https://w3id.org/ro/crate/1.1", "https://doi.org/10.1093/bioinformatics/bts480"}
    assert referred - known.keys() == outside | {"https://snakemake.readthedocs.io"}
    crate = ROCrate(place)
    root = crate.root_dataset
    assert root["name"] == "Made <twice>"
    assert root["description"]
    assert root["license"]["name"] == "CC-BY-4.0"
    assert root["datePublished"] == "2026-11-28"
    assert [author["name"] for author in root["author"]] == ["Ada Lovelace"]
    assert root["mainEntityOfPage"].id == "results/kept/report/index.html"
    assert [profile["version"] for profile in root["conformsTo"]] == ["0.5", "0.5", "1.0"]
    workflow = root["mainEntity"]
    assert workflow.type == ["File", "SoftwareSourceCode", "ComputationalWorkflow"]
    assert workflow["programmingLanguage"].type == "ComputerLanguage"
    assert {"torch", "hitsr", "python"} <= {
        each["name"] for each in workflow["softwareRequirements"]
    }
    (action,) = crate.get_by_type("CreateAction")
    assert action["instrument"] == workflow
    assert action["agent"].type == "Person"
    assert {"small, x2", "big, x2", "config.yaml"} < {each["name"] for each in action["object"]}
    results = {"results/kept/report/index.html", "results/kept/SHA256SUMS", "results/kept/"}
    assert {each.id for each in action["result"]} == results
    parts = {part.id for part in root["hasPart"]}
    there = {p.relative_to(place).as_posix() for p in place.rglob("*") if p.is_file()}
    assert {unquote(part) for part in parts} == there - {"ro-crate-metadata.json"} | {
        "results/kept/"
    }
    for part in parts - {"results/kept/", "results/kept/SHA256SUMS"}:
        file, entity = place / unquote(part), known[part]
        assert "File" in entity["@type"]
        assert (entity["contentSize"], entity["sha256"]) == (str(file.stat().st_size), sha256(file))


def test_what_is_wrong_is_not_archived_unless_that_is_meant(
    twice: tuple[Path, Path], tmp_path: Path
) -> None:
    results = tmp_path / RESULTS
    shutil.copytree(twice[0] / RESULTS, results)
    said_of_it = ["--author", "A", "--license", "CC-BY-4.0", "--out", tmp_path / "a.zip"]
    for missing, words in (("--author", "name who made"), ("--license", "name on what terms")):
        at = said_of_it.index(missing)
        status, said = hitsr("archive", results, *said_of_it[:at], *said_of_it[at + 2 :])
        assert status == 1
        assert words in said
    file = results / "weights/swinir_light-x2-s1/weights.safetensors"
    file.write_bytes(file.read_bytes() + b"0")
    status, said = hitsr("archive", results, *said_of_it)
    assert status == 1
    assert "not packed; mend what is wrong, or pack it with --unverified" in said
    assert "weights/swinir_light-x2-s1: weights.safetensors: changed" in said
    assert not (tmp_path / "a.zip").exists()
    assert hitsr("archive", results, *said_of_it, "--unverified")[0] == 0
    (results / "config.yaml").unlink()
    status, said = hitsr("archive", results, *said_of_it, "--unverified")
    assert (status, "the pipeline writes it" in said) == (1, True)
