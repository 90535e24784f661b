"""Small synthetic results folders, written as the pipeline writes them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hitsr.measure.scaling import fit_power_law
from hitsr.records import (
    AttributionRecord,
    AttributionSettings,
    ChannelScore,
    ComplexityRecord,
    Dtype,
    LatencyRecord,
    LogLine,
    Over,
    PictureScore,
    Provenance,
    QualityRecord,
    RefinedAttribution,
    ScalingRecord,
    ScalingTimeRecord,
    SizeCost,
    SizeTime,
    TimeGrowth,
    TrainingRecord,
    WindowAttribution,
)
from hitsr.report.gather import gather, select
from hitsr.report.measures import Evidence
from hitsr.report.published import read_published
from hitsr.specs.claims import read_claims
from hitsr.specs.config import Config, RunSpec, runs, scaled_networks
from hitsr.specs.network import Formulation

REPORTS = Path(__file__).parents[2] / "reports"
CLAIMS = REPORTS / "claims.yaml"
SIGNATURES = {"psnr": "psnr|y|border:scale|v1", "ssim": "ssim|y|border:scale|v1"}
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
        "train": {"scales": [2], "seeds": [1], "patch": {"depths": [6]},
                  "recipe": {"steps": 100, "batch": 2, "patch": 16, "learning_rate": 1e-3}},
        "efficiency": {"scales": [2], "latency": {"scales": [2]}},
    }  # fmt: skip
    for path, value in changes.items():
        here = data
        *parents, leaf = path.split("__")
        for part in parents:
            here = here[part]
        here[leaf] = value
    return Config.parse(data, "test")


class Folder:
    """Writes records of a config into a results folder."""

    def __init__(self, config: Config, path: Path) -> None:
        self.config, self.path = config, path

    def everything(self, psnr_db: dict[str, float] | None = None) -> "Folder":
        """All that the config asks for; each method's PSNR may be given."""
        psnr_db = psnr_db or {"bicubic": 30.0, "swinir_light": 30.5, "hit_sir": 31.0}
        for name in self.config.networks:
            self.complexity(name)
            self.latency(name, 1000.0 if name == "swinir_light" else 400.0)
        for run in runs(self.config).values():
            self.training(run)
        for dataset in self.config.data.test:
            self.quality("bicubic-x2", dataset, psnr_db["bicubic"])
            self.quality("hr-x2", dataset, None)
            for name, run in runs(self.config).items():
                self.quality(name, dataset, psnr_db[run.network.name], run)
        return self

    def complexity(self, network: str, params: int = 910_152, flops: int = 244_370_000_000) -> None:
        if network == "hit_sir":
            params, flops = 772_064, 209_890_000_000
        spec = scaled_networks(self.config, (2,))[f"{network}-x2"]
        ComplexityRecord(
            subject=spec.name, subject_hash=spec.hash, provenance=PROVENANCE, network=network,
            scale=2, output_size=(1280, 720), input_size=(640, 360), counter="torch",
            formulation="paper", params=params, flops=flops, flops_by_operator={}, uncounted={},
        ).save(self.path / f"records/complexity/{spec.name}.json")  # fmt: skip

    def latency(
        self,
        network: str,
        median_ms: float,
        batch: int = 1,
        dtype: Dtype = "float32",
        formulation: Formulation = "fused",
        session: str | None = None,  # of forwards that took turns
    ) -> None:
        spec = scaled_networks(self.config, (2,))[f"{network}-x2"]
        record = LatencyRecord(
            subject=spec.name, subject_hash=spec.hash, provenance=PROVENANCE, network=network,
            scale=2, output_size=(1280, 720), input_size=(640, 360), formulation=formulation,
            session=session, clock="wall", warmup=1,
            peak_memory_bytes=500_000_000, memory_kind="resident_set",
            samples_ms=(median_ms - 2, median_ms, median_ms + 6), batch=batch, dtype=dtype,
        )  # fmt: skip
        record.save(self.path / f"records/latency/{spec.name}.{record.setup}.json")

    def scaling(self, network: str, over: Over, power: float) -> None:
        """Costs that grow as the size to `power`, exactly."""
        sizes = [side**2 for side in (8, 16, 32, 64)]
        costs = [round(1000 * size**power) for size in sizes]
        law = fit_power_law(sizes, costs)
        spec = scaled_networks(self.config, (2,))[f"{network}-x2"]
        ScalingRecord(
            subject=spec.name, subject_hash=spec.hash, provenance=PROVENANCE, network=network,
            scale=2, formulation="paper", over=over, flops=law, activations=law,
            peak_activation_bytes=law,
            points=tuple(
                SizeCost(side=round(size**0.5), tokens=size, input_size=(256, 128), flops=cost,
                         activations=cost, peak_activation_bytes=cost)
                for size, cost in zip(sizes, costs)
            ),
        ).save(self.path / f"records/scaling/{spec.name}.{over}.json")  # fmt: skip

    def scaling_time(self, network: str, windows: float, pictures: float) -> None:
        """Times that grow as the size to these powers, exactly."""
        spec = scaled_networks(self.config, (2,))[f"{network}-x2"]
        ScalingTimeRecord(
            subject=spec.name, subject_hash=spec.hash, provenance=PROVENANCE, network=network,
            scale=2, formulation="fused", windows=_growth(windows), pictures=_growth(pictures),
        ).save(self.path / f"records/scaling_time/{spec.name}.cpu.fused.json")  # fmt: skip

    def lam(self, run: RunSpec, dataset: str, *indices: float) -> None:
        """Maps of two pictures with these diffusion indices, and their files."""
        folder = self.path / "lam" / f"{run.name}.{dataset}"
        windows = []
        for index, (name, found) in enumerate(zip(("brick", "cat"), indices)):
            stem = f"{name}.4-4-16"
            self._picture(folder / f"{stem}.png", index, width=3 * 40)
            channels = np.random.default_rng(index).normal(size=(3, 20, 20)).astype(np.float32)
            np.save(folder / f"{stem}.npy", channels)
            windows.append(
                WindowAttribution(
                    picture=name, lr_sha256="ab" * 32, lr_size=(20, 20), window=(4, 4, 16),
                    diffusion_index=found, information_area=0.25,
                    completeness_error=0.04, channels=f"{stem}.npy", overlay=f"{stem}.png",
                    refined=RefinedAttribution(
                        steps=100, diffusion_index=19.0, completeness_error=0.005
                    ),
                )
            )  # fmt: skip
        AttributionRecord(
            subject=run.name, subject_hash=run.hash, provenance=PROVENANCE,
            network=run.network.name, scale=run.scale, dataset=dataset, window_rule="busiest",
            settings=AttributionSettings(), weights_sha256="ab" * 32, windows=tuple(windows),
        ).save(folder / "record.json")  # fmt: skip

    def training(self, run: RunSpec, gain: float = 0.0) -> None:
        folder = self.path / "weights" / run.name
        folder.mkdir(parents=True)
        gain = gain or (0.5 if run.network.name.startswith("hit") else 0.0)
        lines = [
            LogLine(
                step=step, loss=1 / step, learning_rate=1e-3, seconds=step / 10,
                validation_psnr_db=29 + step / 50 + gain,
            )
            for step in (25, 50, 75, 100)
        ]  # fmt: skip
        (folder / "log.jsonl").write_text("".join(f"{x.model_dump_json()}\n" for x in lines))
        TrainingRecord(
            subject=run.name, subject_hash=run.hash, provenance=PROVENANCE, run=run,
            params=200_000, pictures=7, final_loss=0.01, final_validation_psnr_db=31.0,
            weights_sha256="ab" * 32,
        ).save(folder / "record.json")  # fmt: skip

    def quality(
        self,
        method: str,
        dataset: str,
        psnr_db: float | None,  # of the first picture; None where all are identical
        run: RunSpec | None = None,
        signatures: dict[str, str] = SIGNATURES,
        pictures: tuple[str, ...] = ("brick", "cat"),
        ssim: float = 0.9,
        grey_db: float | None = None,  # of the first picture, on its grey samples
    ) -> None:
        """Scores, and the pictures they are of."""
        for index, name in enumerate(pictures):
            self._picture(self.config.data.root / dataset / "HR" / f"{name}.png", index)
            self._picture(self.path / "pictures" / f"{method}.{dataset}" / f"{name}.png", index)
        QualityRecord(
            subject=run.name if run else f"{method}.{dataset}",
            subject_hash=run.hash if run else method, provenance=PROVENANCE,
            method=run.network.name if run else method.rpartition("-x")[0],
            dataset=dataset, scale=2, border=2,
            signatures=signatures,
            pictures=tuple(
                PictureScore(
                    name=name,
                    psnr_db=None if psnr_db is None else psnr_db + index,
                    ssim=1.0 if psnr_db is None else ssim,
                    grey=ChannelScore(psnr_db=grey_db, ssim=0.9) if grey_db and not index else None,
                )
                for index, name in enumerate(pictures)
            ),
        ).save(self.path / f"records/quality/{method}.{dataset}.json")  # fmt: skip

    def evidence(self) -> Evidence:
        selected = select(self.config, gather(self.path))
        published, claims = read_published(REPORTS / "published"), read_claims(CLAIMS)
        return Evidence(self.config, selected, published, claims=claims)

    def _picture(self, path: Path, seed: int, width: int = 60) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 255, (40, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)


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


@pytest.fixture(autouse=True)
def _pages_without_pdf(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cutting fonts for PDF is most of a rendering's time; test_figures has the real thing."""
    monkeypatch.setattr("hitsr.report.page.to_pdf", lambda _: b"%PDF")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """An empty results folder of a two-network config."""
    return Folder(make_config(tmp_path / "data"), tmp_path / "results")


@pytest.fixture
def full(folder: Folder) -> Folder:
    return folder.everything()


@pytest.fixture
def reports() -> Path:
    return REPORTS


@pytest.fixture
def configured(tmp_path: Path):
    """A results folder whose config is changed: `configured(data__test=["Set5"])`."""
    return lambda **changes: Folder(make_config(tmp_path / "data", **changes), tmp_path / "results")
