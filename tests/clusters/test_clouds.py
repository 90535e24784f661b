"""Profiles of Kubernetes and AWS Batch, through Snakemake's executors, without either.

A server on this machine answers what the executors ask. It starts the commands of jobs that need no
GPU as processes here, outside the pipeline's folder; jobs that need one it declares failed.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from runpy import run_path
from typing import Any, NamedTuple

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent
DEADLINE_S = 1800  # far above what any step takes: it only ends what hangs
CONFIG: dict[str, Any] = run_path(str(REPOSITORY / "tests/tiny.py"))["tiny"](
    "trained",
    "One training on four GPUs",
    train={"device": "cuda", "gpus": 4, "threads": 4},
    recipe={"batch": 4, "parts": 4},
)
COUNTED = "results/trained/records/complexity/swinir_light-x2.json"
TRAINED = "results/trained/weights/swinir_light-x2-s1/record.json"


class Asked(NamedTuple):
    """What a job asks of its cloud, and what it runs."""

    cpus: str
    memory: str
    gpus: str
    image: str
    command: list[str]


class Cloud:
    """Jobs by name; each is a process here, or None if it asks for a GPU."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: dict[str, Asked] = {}
        self.processes: dict[str, subprocess.Popen[bytes] | None] = {}

    def start(self, name: str, asked: Asked) -> None:
        self.asked[name] = asked
        self.processes[name] = (
            subprocess.Popen(asked.command, cwd=self.folder) if asked.gpus == "0" else None
        )

    def status(self, name: str) -> int | None:
        """The exit status of a job; None while it runs."""
        process = self.processes[name]
        return 1 if process is None else process.poll()


class Kubernetes(Cloud):
    def answer(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if method == "POST" and path.endswith("/jobs"):
            (container,) = body["spec"]["template"]["spec"]["containers"]
            limits = container["resources"]["limits"]
            asked = Asked(
                cpus=limits["cpu"],
                memory=limits["memory"],
                gpus=limits.get("nvidia.com/gpu", "0"),
                image=container["image"],
                command=[*container["command"], *container["args"]],
            )
            assert container["volumeMounts"][-1] == {"name": "CLAIM", "mountPath": "/shared"}
            self.start(body["metadata"]["name"], asked)
            return body
        if method == "GET" and path.endswith("/status"):
            status = self.status(path.split("/")[-2])
            word = {None: "active", 0: "succeeded"}.get(status, "failed")
            return {"status": {word: 1}}
        return {"items": []} if "/pods" in path else {}


class Batch(Cloud):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.definitions: dict[str, dict[str, Any]] = {}

    def answer(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        assert method == "POST"
        match path:
            case "/v1/registerjobdefinition":
                name = body["jobDefinitionName"]
                self.definitions[f"{name}:1"] = body["containerProperties"]
                return {"jobDefinitionName": name, "jobDefinitionArn": f"arn:{name}", "revision": 1}
            case "/v1/submitjob":
                container = self.definitions[body["jobDefinition"]]
                needs = {each["type"]: each["value"] for each in container["resourceRequirements"]}
                asked = Asked(
                    cpus=needs["VCPU"],
                    memory=needs["MEMORY"],
                    gpus=needs.get("GPU", "0"),
                    image=container["image"],
                    command=container["command"],
                )
                self.start(body["jobName"], asked)
                return {"jobName": body["jobName"], "jobId": body["jobName"]}
            case "/v1/describejobs":
                (name,) = body["jobs"]
                status = self.status(name)
                word = {None: "RUNNING", 0: "SUCCEEDED"}.get(status, "FAILED")
                container = {} if status is None else {"exitCode": status}
                job = {"jobName": name, "jobId": name, "status": word, "container": container}
                return {"jobs": [job]}
        return {}


@contextmanager
def serving(cloud: Kubernetes | Batch) -> Iterator[str]:
    """The address at which the cloud answers."""

    class Handler(BaseHTTPRequestHandler):
        def handle_one(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = self.path.partition("?")[0]
            answer = cloud.answer(self.command, path, json.loads(content or "{}"))
            text = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_DELETE = handle_one

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            for process in filter(None, cloud.processes.values()):
                process.kill()
                process.wait()


def profile(name: str, folder: Path) -> Path:
    """The profile as it is, in whose folder jobs find the pipeline; failures are not repeated."""
    table = yaml.safe_load((REPOSITORY / f"workflow/profiles/{name}/config.yaml").read_text())
    *_, last = table["precommand"].split(" && ")
    assert last == "cd /shared/FOLDER"
    table |= {"precommand": f"cd '{folder}'", "retries": 0}
    own = folder / name
    own.mkdir()
    (own / "config.yaml").write_text(yaml.safe_dump(table))
    return own


def run(name: str, cloud: Kubernetes | Batch, folder: Path) -> subprocess.CompletedProcess[str]:
    """The pipeline, asked for counts and for a training on four GPUs."""
    for each in ("workflow", "reports", "ablations"):
        shutil.copytree(REPOSITORY / each, folder / each)
    shutil.copy(REPOSITORY / "Snakefile", folder)
    (folder / "trained.yaml").write_text(yaml.safe_dump(CONFIG))
    with serving(cloud) as address:
        contexts = {
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
            "clusters": [{"name": "here", "cluster": {"server": address}}],
            "users": [{"name": "me", "user": {}}],
        }
        (folder / "kube.yaml").write_text(yaml.safe_dump(contexts))
        given = {
            "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}",
            "KUBECONFIG": str(folder / "kube.yaml"),
            "AWS_ENDPOINT_URL_BATCH": address,
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "nothing",
            "NO_PROXY": "127.0.0.1",
        }
        command = [TOOLS / "snakemake", "--workflow-profile", profile(name, folder)]
        return subprocess.run(
            [*command, "--configfile", "trained.yaml", "--", COUNTED, TRAINED],
            cwd=folder, env={**os.environ, **given}, capture_output=True, text=True,
            timeout=DEADLINE_S,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kind", "trained", "counted"),
    [
        ("kubernetes", Kubernetes, ("4000m", "32000M", "4"), ("1000m", "16000M", "0")),
        ("aws-batch", Batch, ("4", "30720", "4"), ("1", "8192", "0")),
    ],
)
def test_jobs_ask_for_what_the_table_says_and_do_their_work(
    tmp_path: Path, name: str, kind: Any, trained: tuple[str, ...], counted: tuple[str, ...]
) -> None:
    pytest.importorskip(f"snakemake_executor_plugin_{name.replace('-', '_')}")
    folder, elsewhere = tmp_path / "shared", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    cloud = kind(elsewhere)
    done = run(name, cloud, folder)
    said = done.stdout + done.stderr
    found = {"train": trained, "complexity": counted}
    for asked in cloud.asked.values():
        (rule,) = (rule for rule in found if f"--target-jobs '{rule}" in asked.command[-1])
        assert (asked.cpus, asked.memory, asked.gpus) == found.pop(rule)
        assert "hitsr:VERSION" in asked.image
    assert not found, said
    assert (folder / COUNTED).is_file(), said
    assert done.returncode == 1
    assert "1 failed:\n  train swinir_light-x2-s1: " in said
