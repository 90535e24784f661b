"""Small synthetic results folders, written as the pipeline writes them."""

import copy
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hitsr.base.files import sha256
from hitsr.measure.scaling import fit_power_law
from hitsr.plan.batches import cost_batches, rule_name, time_name
from hitsr.plan.failures import MARK
from hitsr.plan.jobs import Job, PrepareJob, QualityJob, TimeJob
from hitsr.plan.layout import Kind, file_name
from hitsr.plan.planning import make_plan
from hitsr.records import (
    AttributionRecord,
    AttributionSettings,
    ChannelScore,
    ComplexityRecord,
    DatasetRecord,
    GateResult,
    LatencyRecord,
    LogLine,
    PictureFile,
    PictureScore,
    Provenance,
    QualityRecord,
    Record,
    RefinedAttribution,
    ScalingRecord,
    ScalingTimeRecord,
    Session,
    SizeCost,
    SizeTime,
    TimeGrowth,
    TrainingRecord,
    WindowAttribution,
    read_log,
)
from hitsr.report import render
from hitsr.report.evidence import Evidence
from hitsr.report.facts import Facts
from hitsr.report.ledger import rulings
from hitsr.report.page import evidence_of
from hitsr.report.ruling import Ruling
from hitsr.specs.ablation import read_ablations
from hitsr.specs.config import Config, Over, runs, scaled_networks
from hitsr.specs.network import Formulation
from hitsr.specs.recipe import Gate
from hitsr.specs.run import RunSpec
from hitsr.specs.steps import STEPS, Launch, Precision, Step

REPORTS = Path(__file__).parents[2] / "reports"
ABLATIONS = Path(__file__).parents[2] / "ablations"
# Changes to the config below, so that it asks for every kind of record.
EVERYTHING: dict[str, object] = {
    "data__test": ["test", "Set5"],
    "train__seeds": [1, 2],
    "efficiency__latency": {"scales": [2], "formulations": ["paper", "fused"], "batches": [4]},
    "lam": {"sets": ["test"], "scales": [2]},
    "scaling": {"samples": 2},
    "ablations": ["window_schedule"],
}
# Changes that make it the protocols of the publications.
PAPERS: dict[str, object] = {
    "train__recipe": {"from": "own"},
    "train__changes": {},
    "data__train": "DIV2K",
    "data__test": ["Set5"],
}
SIGNATURES = {"psnr": "psnr|y|border:scale|v1", "ssim": "ssim|y|border:scale|v1"}
_SEEDS = {"brick": 0, "cat": 1}  # of the pictures of every set
PROVENANCE = Provenance(
    commit="0123456789abcdef", dirty=False, versions={"python": "3.11"}, device="cpu",
    device_name="A CPU", threads=2, command="hitsr verb", seconds=12.0,
)  # fmt: skip


def make_config(root: Path, **changes: object) -> Config:
    """Two networks, one pair; `changes` by dotted path."""
    data: dict = {
        "name": "tiny",
        "title": "A tiny <report> & more",
        "networks": ["swinir_light", "hit_sir"],
        "data": {"root": str(root), "source": "wheels", "train": "train", "validation": "test",
                 "test": ["test"]},
        "train": {"scales": [2], "seeds": [1], "changes": {"depths": [6]},
                  "recipe": {"steps": 100, "batch": 2, "patch": 16, "learning_rate": 1e-3}},
        "efficiency": {"scales": [2], "latency": {"scales": [2]}},
    }  # fmt: skip
    for path, value in changes.items():
        here = data
        *parents, leaf = path.split("__")
        for part in parents:
            here = here[part]
        here[leaf] = copy.deepcopy(value)
    data["efficiency"]["latency"].setdefault("device", "cpu")  # also where there is a GPU
    if data["train"]:
        data["train"].setdefault("device", "cpu")
    return Config.parse(data, "test")


GPU = "NVIDIA H200"
# Made up: ms at each step on a GPU. Masks built on the CPU hold the baselines back.
GPU_MS = {
    "swinir_light": (750, 80, 90, 60, 40, 8.0),
    "hit_sir": (105, 85, 55, 45, 30, 5.5),
    "swinir_ng": (890, 100, 110, 75, 50, 9.5),
    "hit_sng": (125, 130, 70, 60, 40, 7.0),
    "srformer_light": (810, 90, 105, 70, 45, 8.5),
    "hit_srf": (130, 95, 65, 55, 35, 6.5),
}


def steps_ms(device: str, times: dict[str, tuple[float, ...]]) -> dict[str, dict[str, float]]:
    """For `Folder.taken_apart`, from times in the order of the device's steps."""
    names = [".".join([step.formulation, step.precision, step.launch]) for step in STEPS[device]]
    return {network: dict(zip(names, each)) for network, each in times.items()}


class Folder:
    """Writes records of a config's jobs into its results folder, as the verbs would."""

    def __init__(self, config: Config, path: Path) -> None:
        self.config, self.path = config, path
        known = read_ablations(ABLATIONS) if config.ablations else {}
        self.ablations = {name: known[name] for name in config.ablations}
        self.plan = make_plan(config, self.ablations, path)

    def job(self, kind: Kind, name: str) -> Job:
        """The job whose output is called so, its file written."""
        job = self.plan.find(self.plan.layout.output(kind, name))
        job.save(self.plan.layout.job(kind, name))
        return job

    def save(self, kind: Kind, name: str, record: type[Record], **fields: object) -> None:
        """Write the record of a job."""
        job = self.job(kind, name)
        made = record.model_validate({"job_hash": job.hash, "provenance": PROVENANCE, **fields})
        made.save(self.output(kind, name))

    def output(self, kind: Kind, name: str) -> Path:
        """Where a job's record lies."""
        return self.plan.layout.output(kind, name)

    def fail(self, kind: Kind, name: str, reason: str) -> Path:
        """Let a job have failed: no output, and a log that says why, which is returned."""
        job = self.job(kind, name)
        shutil.rmtree(self.output(kind, name), ignore_errors=True)
        self.output(kind, name).unlink(missing_ok=True)
        shared = {rule_name(b): j for b, j in cost_batches(self.plan.jobs).items() if job in j}
        log = self.plan.layout.log(kind, next(iter(shared), name))
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(f"hitsr: {f'{name}: ' if shared else ''}{reason}\n{MARK}1\n")
        return log

    def edit(self, kind: Kind, name: str, **changes: object) -> None:
        """Change fields of a record that is there."""
        path = self.output(kind, name)
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    def everything(self, psnr_db: dict[str, float] | None = None) -> "Folder":
        """All that the config asks for; each method's PSNR may be given."""
        psnr_db = psnr_db or {"bicubic": 30.0, "swinir_light": 30.5, "hit_sir": 31.0}
        for job in self.plan.reported:
            if isinstance(job, PrepareJob):
                self.prepared(job)
        for name in self.config.networks:
            self.complexity(name)
            self.latency(name, 1000.0 if name == "swinir_light" else 400.0)
        for run in runs(self.config).values():
            self.training(run)
        for dataset in self.config.data.test:
            self.quality("bicubic-x2", dataset, psnr_db["bicubic"])
            self.quality("hr-x2", dataset, None)
            for name, run in runs(self.config).items():
                self.quality(name, dataset, psnr_db[run.network.name])
        return self

    def extras(self) -> "Folder":
        """What `EVERYTHING` asks for beyond `everything`."""
        for run in runs(self.config).values():
            self.lam(
                run, "test", *((9.0, 14.0) if run.network.name == "swinir_light" else (20, 22))
            )
        for network in self.config.networks:
            self.latency(network, 3000.0, formulation="paper")
            for formulation in ("paper", "fused"):
                self.latency(network, 900.0, batch=4, formulation=formulation)
            self.scaling_time(network, 0.1, 1.0)
            for over, power in (("window", 0.1), ("picture", 1.0)):
                self.scaling(network, over, power)
        return self

    def prepared(self, job: PrepareJob, **fields: object) -> None:
        files = tuple(
            PictureFile(
                name=name,
                lr_size=(30, 20),
                hr_size=(60, 40),
                lr_sha256="ab" * 32,
                hr_sha256=self._picture(job.folder / "HR" / f"{name}.png", seed),
            )
            for name, seed in _SEEDS.items()
        )
        self.save(
            "prepare",
            job.name,
            DatasetRecord,
            subject=job.dataset,
            scale=job.scale,
            pictures=files,
            **fields,
        )

    def complexity(
        self,
        network: str,
        params_k: float | None = None,
        flops_g: float | None = None,
        scale: int = 2,
        **fields: object,
    ) -> None:
        """Counts; by default those of the two networks as fvcore counts them at x2."""
        known = (772.064, 209.89) if network == "hit_sir" else (910.152, 244.37)
        self.save(
            "complexity", f"{network}-x{scale}", ComplexityRecord, subject=f"{network}-x{scale}",
            network=network, scale=scale, output_size=(1280, 720),
            input_size=(1280 // scale, 720 // scale), counter="torch", formulation="paper",
            params=round((params_k or known[0]) * 1e3), flops=round((flops_g or known[1]) * 1e9),
            flops_by_operator={}, uncounted={}, **fields,
        )  # fmt: skip

    def latency(
        self,
        network: str,
        median_ms: float = 0.0,
        batch: int = 1,
        precision: Precision = "float32",
        launch: Launch = "eager",
        formulation: Formulation = "fused",
        session: str | None = None,  # of forwards that took turns
        samples_ms: tuple[float, ...] = (),  # in place of three around the median
        device_name: str = "A CPU",  # any other is a GPU's
        **fields: object,
    ) -> None:
        device = self.config.efficiency.latency.device
        parts = (
            device, formulation, f"b{batch}" * (batch > 1), precision * (precision != "float32"),
            launch * (launch != "eager"),
        )  # fmt: skip
        job = self.job("latency", ".".join([f"{network}-x2", *filter(None, parts)]))
        assert isinstance(job, TimeJob)
        provenance = PROVENANCE.model_copy(update={"device_name": device_name})
        if device_name != PROVENANCE.device_name:
            job = job.model_copy(update={"device": "cuda"})  # whatever the config names
            job = job.model_copy(update={"name": time_name(job)})
            job.save(self.plan.layout.job("latency", job.name))
            provenance = provenance.model_copy(update={"device": "cuda:0"})
        width, height = self.config.efficiency.output_size
        LatencyRecord(
            subject=job.subject.name, job_hash=job.hash, provenance=provenance, network=network,
            scale=2, output_size=(width, height), input_size=(width // 2, height // 2),
            formulation=formulation, session=session, clock="wall", warmup=1,
            peak_memory_bytes=500_000_000, memory_kind="resident_set",
            samples_ms=samples_ms or (median_ms - 2, median_ms, median_ms + 6),
            batch=batch, precision=precision, launch=launch, **fields,
        ).save(self.output("latency", job.name))  # fmt: skip

    def taken_apart(self, times: dict[str, dict[str, float]], device_name: str = GPU) -> None:
        """Times in ms of each network by step: "released", "fused.float16.graph"; all in turns."""
        for network, steps in times.items():
            for name, median_ms in steps.items():
                step = Step(*name.split("."))
                samples = tuple(median_ms * share for share in (0.99, 1.0, 1.02))
                self.latency(
                    network, formulation=step.formulation, precision=step.precision,
                    launch=step.launch, samples_ms=samples, session="turns",
                    device_name=device_name,
                )  # fmt: skip

    def scaling(self, network: str, over: Over, power: float) -> None:
        """Costs that grow as the size to `power`, exactly."""
        sizes = [side**2 for side in (8, 16, 32, 64)]
        costs = [round(1000 * size**power) for size in sizes]
        law = fit_power_law(sizes, costs)
        spec = scaled_networks(self.config, (2,))[f"{network}-x2"]
        self.save(
            "scaling", f"{spec.name}.{over}", ScalingRecord, subject=spec.name, network=network,
            scale=2, formulation="paper", over=over, flops=law, activations=law,
            peak_activation_bytes=law,
            points=tuple(
                SizeCost(side=round(size**0.5), tokens=size, input_size=(256, 128), flops=cost,
                         activations=cost, peak_activation_bytes=cost)
                for size, cost in zip(sizes, costs)
            ),
        )  # fmt: skip

    def scaling_time(self, network: str, windows: float, pictures: float) -> None:
        """Times that grow as the size to these powers, exactly."""
        spec = scaled_networks(self.config, (2,))[f"{network}-x2"]
        self.save(
            "scaling_time", f"{spec.name}.cpu.fused", ScalingTimeRecord, subject=spec.name,
            network=network,
            scale=2, formulation="fused", windows=_growth(windows), pictures=_growth(pictures),
        )  # fmt: skip

    def lam(self, run: RunSpec, dataset: str, *indices: float, **fields: object) -> None:
        """Maps of two pictures with these diffusion indices, and their files."""
        folder = self.path / "lam" / f"{run.name}.{dataset}"
        windows = []
        for index, (name, found) in enumerate(zip(("brick", "cat"), indices)):
            stem = f"{name}.4-4-16"
            overlay = self._picture(folder / f"{stem}.png", index, width=3 * 40)
            channels = np.random.default_rng(index).normal(size=(3, 20, 20)).astype(np.float32)
            np.save(folder / f"{stem}.npy", channels)
            windows.append(
                WindowAttribution(
                    picture=name, lr_sha256="ab" * 32, lr_size=(20, 20), window=(4, 4, 16),
                    diffusion_index=found, information_area=0.25,
                    completeness_error=0.04, channels=f"{stem}.npy", overlay=f"{stem}.png",
                    channels_sha256=sha256(folder / f"{stem}.npy"), overlay_sha256=overlay,
                    refined=RefinedAttribution(
                        steps=100, diffusion_index=19.0, completeness_error=0.005
                    ),
                )
            )  # fmt: skip
        known = {"settings": AttributionSettings(), "weights_sha256": "ab" * 32}
        self.save(
            "lam", f"{run.name}.{dataset}", AttributionRecord, subject=run.name,
            network=run.network.name, scale=run.scale, dataset=dataset, window_rule="busiest",
            windows=tuple(windows), **(known | fields),
        )  # fmt: skip

    def training(self, run: RunSpec, gain: float = 0.0, **fields: object) -> None:
        folder = self.path / "weights" / run.name
        folder.mkdir(parents=True, exist_ok=True)
        gain = gain or (0.5 if run.network.name.startswith("hit") else 0.0)
        lines = [
            LogLine(
                step=run.recipe.steps * part // 100, loss=1 / part, learning_rate=1e-3,
                seconds=part / 10, device_seconds=part / 10,
                validation_psnr_db=29 + part / 50 + gain,
            )
            for part in (25, 50, 75, 100)
        ]  # fmt: skip
        (folder / "log.jsonl").write_text("".join(f"{x.model_dump_json()}\n" for x in lines))
        last, made = run.recipe.steps, PROVENANCE
        whole = Session(
            first_step=1, last_step=last, seconds=10.0, device_name=made.device_name,
            commit=made.commit,
        )  # fmt: skip
        self.save(
            "train", run.name, TrainingRecord, subject=run.name, run=run,
            params=200_000, pictures=7, final_loss=0.01,
            final_validation_psnr_db=31.0, weights_sha256="ab" * 32,
            log_sha256=sha256(folder / "log.jsonl"), **({"sessions": (whole,)} | fields),
        )  # fmt: skip

    def relog(self, run: RunSpec, change: Callable[[LogLine], LogLine]) -> None:
        """Change the lines of a training's log."""
        path = self.path / "weights" / run.name / "log.jsonl"
        lines = [change(line) for line in read_log(path)]
        path.write_text("".join(f"{line.model_dump_json()}\n" for line in lines))
        self.edit("train", run.name, log_sha256=sha256(path))

    def quality(
        self,
        method: str,  # "hit_sir-x2-s1", "bicubic-x2"
        dataset: str,
        psnr_db: float
        | tuple[float | None, ...]
        | None,  # of each picture, or of the first, the next
        # one better each; None where all are identical
        signatures: dict[str, str] = SIGNATURES,
        pictures: tuple[str, ...] = ("brick", "cat"),
        ssim: float = 0.9,
        grey_db: float | None = None,  # of the first picture, on its grey samples
    ) -> None:
        """Scores, and the pictures they are of."""
        name = file_name(f"{method}.{dataset}")
        job = self.job("quality", name)
        assert isinstance(job, QualityJob)
        if isinstance(psnr_db, float | int):
            psnr_db = tuple(psnr_db + index for index in range(len(pictures)))
        folders = (self.output("restore", name), self.config.data.root / dataset / "HR")
        hashes = [
            [  # of different files: an SR file that is a copy of the HR one is not believed
                self._picture(folder / f"{picture}.png", _SEEDS.get(picture, 2), level=level)
                for level, folder in zip((1, 6), folders)
            ]
            for picture in pictures
        ]
        self.save(
            "quality", name, QualityRecord, subject=method, method=job.subject.network_name,
            dataset=dataset, scale=job.subject.scale, border=job.subject.scale,
            signatures=signatures,
            pictures=tuple(
                PictureScore(
                    name=picture,
                    psnr_db=None if psnr_db is None else psnr_db[index],
                    ssim=1.0 if psnr_db is None or psnr_db[index] is None else ssim,
                    grey=ChannelScore(psnr_db=grey_db, ssim=0.9) if grey_db and not index else None,
                    sr_sha256=hashes[index][0],
                    hr_sha256=hashes[index][1],
                )
                for index, picture in enumerate(pictures)
            ),
        )  # fmt: skip

    def evidence(self) -> Evidence:
        return evidence_of(self.plan, REPORTS, self.ablations)

    def render(self, reports: Path = REPORTS, out: Path | None = None) -> Path:
        """The folder of the page, by default where the pipeline has it; with empty PDFs.

        Cutting fonts for them is most of a rendering's time; test_figures makes a real one.
        """
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("hitsr.report.page.to_pdf", lambda _: b"%PDF")
            out = out or self.plan.layout.report
            render(self.plan, reports, out, self.ablations)
        return out

    def _picture(self, path: Path, seed: int, width: int = 60, level: int = 6) -> str:
        """Write a picture, compressed at a level of PNG; returns the hash of the file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 255, (40, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path, compress_level=level)
        return sha256(path)


def _growth(power: float) -> TimeGrowth:
    points = tuple(
        SizeTime(
            side=side, tokens=side**2, input_size=(64, 64),
            samples_ms=(9.0 * side ** (2 * power), 10.0 * side ** (2 * power)),
        )
        for side in (8, 16, 32)
    )  # fmt: skip
    law = fit_power_law([p.tokens for p in points], [p.samples_ms[0] for p in points])
    return TimeGrowth(points=points, law=law)


@pytest.fixture(scope="session")
def new_folder():
    """A results folder anywhere, with its config changed: `new_folder(path, train__seeds=[2])`."""
    return lambda path, **changes: Folder(make_config(path / "data", **changes), path / "results")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """An empty results folder of a two-network config."""
    return Folder(make_config(tmp_path / "data"), tmp_path / "results")


@pytest.fixture
def full(folder: Folder) -> Folder:
    return folder.everything()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """As `full`, once for all tests that only read it."""
    path = tmp_path_factory.mktemp("finished")
    return Folder(make_config(path / "data"), path / "results").everything()


@pytest.fixture(scope="session")
def evidence(finished: Folder) -> Evidence:
    """Of two networks with one seed, finished."""
    return finished.evidence()


@pytest.fixture(scope="session")
def page(finished: Folder) -> Path:
    """The folder of the rendered page of `finished`."""
    return finished.render()


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Two seeds, a set of the paper's and one of none, an ablation; every kind of record."""
    path = tmp_path_factory.mktemp("measured")
    config = make_config(path / "data", **EVERYTHING)
    return Folder(config, path / "results").everything().extras()


@pytest.fixture
def reports() -> Path:
    return REPORTS


@pytest.fixture
def configured(tmp_path: Path):
    """A results folder whose config is changed: `configured(data__test=["Set5"])`."""
    return lambda **changes: Folder(make_config(tmp_path / "data", **changes), tmp_path / "results")


@pytest.fixture
def on_gpu(configured):
    """A folder of three pairs, their speed-ups taken apart on a made-up GPU."""

    def make(times: dict[str, tuple[float, ...]] = GPU_MS, device_name: str = GPU) -> Folder:
        latency = {"scales": [2], "taken_apart": True, "device": "cuda"}
        folder = configured(networks=list(GPU_MS), efficiency__latency=latency)
        folder.taken_apart(steps_ms("cuda", times), device_name)
        return folder

    return make


@pytest.fixture(scope="session")
def new_session():
    """A session of a training: `new_session(1, 50, devices=4)`."""

    def make(first_step: int, last_step: int, **fields: object) -> Session:
        usual = {"seconds": 10.0, "device_name": "A CPU", "commit": PROVENANCE.commit}
        steps = {"first_step": first_step, "last_step": last_step}
        return Session.model_validate(steps | usual | fields)

    return make


@pytest.fixture(scope="session")
def new_gate():
    """A gate of hit_sir, and what was reached: `new_gate(50, 30.5, reached_db=30.45)`."""

    def make(step: int, psnr_db: float, reached_db: float, **fields: object) -> GateResult:
        usual = {"network": "hit_sir", "scale": 2, "validation": "test", "source": "a log"}
        gate = Gate.model_validate({"step": step, "psnr_db": psnr_db} | usual | fields)
        return GateResult(gate=gate, reached_db=reached_db)

    return make


@pytest.fixture(scope="session")
def averaged():
    """Evidence as if PSNR of hit_sir alone were that of averaged weights."""

    def make(evidence: Evidence) -> Evidence:
        rows = (
            row._replace(validated="averaged weights")
            if row.quantity == "validation_psnr_db" and row.network == "hit_sir"
            else row
            for row in evidence.facts.rows
        )
        return replace(evidence, facts=Facts(rows), _memo={})

    return make


@pytest.fixture
def papers(configured):
    """As `configured`, with trainings as the paper's and Set5 to test."""
    return lambda **changes: configured(**PAPERS | changes)


@pytest.fixture(scope="session")
def ruling():
    """What came of one claim in a folder, perhaps narrowed to what a small folder can hold."""

    def of(folder: Folder, claim_id: str, **narrowed: object) -> Ruling:
        evidence = folder.evidence()
        claim = next(claim for claim in evidence.claims if claim.id == claim_id)
        (found,) = rulings(replace(evidence, claims=(claim.model_copy(update=narrowed),)))
        return found

    return of
