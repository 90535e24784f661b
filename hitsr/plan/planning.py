"""The list of all jobs that a config and its ablations request, each job once.

Snakemake's rules, the report, `hitsr doctor` and the cost estimate all read this list. Equal values
are one job, whatever requests them.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TypeVar

from hitsr.base.errors import SpecError, did_you_mean, shortened
from hitsr.plan.batches import CONFIG, LATENCY, time_name
from hitsr.plan.jobs import (
    BaseJob,
    CountJob,
    GrowthJob,
    Job,
    MapJob,
    PrepareJob,
    QualityJob,
    RestoreJob,
    TimeGrowthJob,
    TimeJob,
    TrainJob,
    UsedDevice,
    device_kind,
)
from hitsr.plan.layout import Layout, file_name
from hitsr.plan.needs import available_device
from hitsr.plan.subjects import (
    CONTROLS,
    BuiltNetwork,
    ControlMethod,
    Network,
    OwnNetwork,
    ReleasedNetwork,
    TrainedNetwork,
    Upscaler,
    find_weights,
    own_network,
    weight_names,
)
from hitsr.specs.ablation import Ablation, AblationRow, ablation_rows
from hitsr.specs.config import Config, Device, runs, scaled_networks, start_file
from hitsr.specs.network import Formulation, Scale
from hitsr.specs.recipe import check_sharing
from hitsr.specs.recipes import gates_of
from hitsr.specs.run import RunSpec
from hitsr.specs.source import read_source
from hitsr.specs.steps import STEPS, Launch, Precision, is_possible

J = TypeVar("J", bound=BaseJob)


@dataclass(frozen=True)
class Plan:
    """The jobs of a config and its ablations, in the order in which they can be done."""

    config: Config
    layout: Layout
    jobs: tuple[Job, ...]
    ablations: Mapping[str, tuple[AblationRow, ...]]  # possible with this config
    impossible: Mapping[str, str]  # ablation -> why it is impossible with this config

    def asked_by(self, *askers: str) -> list[Job]:
        return [job for job in self.jobs if set(askers) & set(job.asked_by)]

    @property
    def reported(self) -> list[Job]:
        """Jobs whose results the report shows: those of the config and of its ablations."""
        return self.asked_by(CONFIG, *self.config.ablations)

    @cached_property
    def by_output(self) -> Mapping[Path, Job]:
        return {job.output: job for job in self.jobs if job.output}

    def makers(self, outputs: Iterable[str | Path]) -> list[Job]:
        """The jobs whose records, or pictures, are among these files."""
        return [self.by_output[path] for path in map(Path, outputs) if path in self.by_output]

    def find(self, output: str | Path) -> Job:
        """The job that makes a file; SpecError if no job does."""
        if Path(output) not in self.by_output:
            known = map(str, self.by_output)
            hint = did_you_mean(str(output), known)
            raise SpecError(f"{output}: no job of {self.config.name} makes this file; {hint}")
        return self.by_output[Path(output)]


def make_plan(
    config: Config, ablations: Mapping[str, Ablation], results: Path | None = None
) -> Plan:
    """List all jobs of `config`, and of every ablation that is possible with it.

    `ablations` holds all known ablations by name; `results` is the folder of all outputs, by
    default results/<name of the config>. Raises SpecError if the config names an ablation that does
    not exist or is impossible.
    """
    for name in config.ablations:
        if name not in ablations:
            raise SpecError(
                f"{config.name}: no ablation {shortened(name)}; {did_you_mean(name, ablations)}"
            )
    rows, impossible = _possible(config, ablations)
    layout = Layout(results or config.folder)
    varied = (run for of_ablation in rows.values() for row in of_ablation for run in row.runs)
    planner = _Planner(config, layout, runs(config).values() or varied)
    asked = [*planner.of_config(), *planner.of_latency()]
    for name, of_ablation in rows.items():
        asked += planner.of_ablation(name, of_ablation)
    return Plan(config, layout, _merged(asked), rows, impossible)


def _possible(
    config: Config, ablations: Mapping[str, Ablation]
) -> tuple[dict[str, tuple[AblationRow, ...]], dict[str, str]]:
    rows, impossible = {}, {}
    for name, ablation in ablations.items():
        try:
            rows[name] = ablation_rows(name, ablation, config)
        except SpecError as error:
            if name in config.ablations:
                raise
            impossible[name] = str(error)
    return rows, impossible


def _merged(asked: Iterable[Job]) -> tuple[Job, ...]:
    """Merge equal jobs and their `asked_by`; jobs come before those that need their outputs."""
    merged: dict[str, Job] = {}
    for job in asked:
        key = str(job.output).casefold()  # some disks do not tell A from a
        known = merged.get(key)
        if known is None:
            merged[key] = job
        else:
            if known != job.model_copy(update={"asked_by": known.asked_by}):
                raise _same_file(known, job)
            askers = tuple(dict.fromkeys(known.asked_by + job.asked_by))
            merged[key] = known.model_copy(update={"asked_by": askers})
    return tuple(merged.values())


def _same_file(first: Job, second: Job) -> SpecError:
    """An error about two jobs whose results would be one file."""
    names = first.name if first.name == second.name else f"{first.name} and {second.name}"
    return SpecError(
        f"{names}: two different jobs of kind {first.kind} would write one file, on disks that do "
        "not tell A from a; rename a set, network or variant of one of them"
    )


class _Planner:
    """Makes the jobs of one config."""

    def __init__(self, config: Config, layout: Layout, trained: Iterable[RunSpec]) -> None:
        self.config, self.layout = config, layout
        timed: Device = config.efficiency.latency.device
        self.timing_device: UsedDevice = available_device(timed)
        # Restores and maps on the device of training; without training, on that of timings.
        self.device: UsedDevice = available_device(config.train.device if config.train else timed)
        self.packs = config.data.packs or config.data.root / "packs"
        # The largest that is cut from the training set, and so the least side of its LR pictures.
        self.patch = max((run.recipe.patch for run in trained), default=None)

    def of_config(self) -> Iterator[Job]:
        config = self.config
        for run in runs(config).values():
            yield from self._trained(run, CONFIG)
        for upscaler in self._upscalers():
            for dataset in config.data.test:
                yield from self._scored(upscaler, dataset, CONFIG)
        for network in self._networks(config.efficiency.scales, own=tuple(config.own)):
            yield self._counted(network, CONFIG)
        yield from self._timed(config.efficiency.latency.scales, CONFIG)
        if config.lam:
            yield from self._mapped(config.lam.sets, config.lam.scales, config.lam.crop)
        if config.scaling:
            yield from self._grown()

    def of_latency(self) -> Iterator[Job]:
        """Jobs for `make latency`: timings at every scale."""
        yield from self._timed((2, 3, 4), LATENCY)

    def of_ablation(self, name: str, rows: tuple[AblationRow, ...]) -> Iterator[Job]:
        """Train, score and count each variant, and time it in the fused formulation."""
        config = self.config
        for row in rows:
            for run in row.runs:
                yield from self._trained(run, name)
                for dataset in config.data.test:
                    yield from self._scored(TrainedNetwork(run=run), dataset, name)
            yield self._counted(BuiltNetwork(**dict(row.network)), name)
            (timed,) = row.at_scales([min(config.efficiency.latency.scales)])
            yield self._time(BuiltNetwork(**dict(timed)), "fused", "float32", "eager", 1, name)
        control = ControlMethod(network_name="bicubic", scale=rows[0].network.scale)
        for dataset in config.data.test:
            yield from self._scored(control, dataset, name)

    def _upscalers(self) -> Iterator[Upscaler]:
        """All methods that a config scores."""
        config = self.config
        for run in runs(config).values():
            yield TrainedNetwork(run=run)
        if config.weights:
            for network in scaled_networks(config, config.weights.scales).values():
                yield ReleasedNetwork(**dict(network))
        for name, own in config.own.items():
            for scale in own.scales:
                yield own_network(own.source, scale, name)
        for control, scale in product(CONTROLS, config.scales):
            yield ControlMethod(network_name=control, scale=scale)

    def _networks(self, scales: tuple[Scale, ...], own: Iterable[str]) -> Iterator[Network]:
        """Networks of published size at each scale, then users' own networks at their scales."""
        for network in scaled_networks(self.config, scales).values():
            yield BuiltNetwork(**dict(network))
        for name in own:
            for scale in self.config.own[name].scales:
                yield own_network(self.config.own[name].source, scale, name)

    def _prepared(self, dataset: str, scale: Scale, asker: str) -> PrepareJob:
        data, train = self.config.data, self.config.train
        wheels = f"wheels:{dataset}"
        packed = train is not None and dataset in (data.train, data.validation)
        return self._job(
            PrepareJob,
            f"{dataset}-x{scale}",
            asker,
            dataset=dataset,
            scale=scale,
            source=wheels if data.source == "wheels" else str(data.root / dataset),
            folder=data.root / dataset,
            packs=self.packs if packed else None,
            patch=self.patch if train and dataset == data.train else None,
            seen=self.layout.seen(file_name(f"{dataset}-x{scale}")),
        )

    def _trained(self, run: RunSpec, asker: str) -> Iterator[Job]:
        """Jobs of a run: its sets, the run that it starts from if any, and the training."""
        train = self.config.train
        assert train is not None
        inputs: dict[str, Path] = {}
        for place, dataset in (("data", run.data), ("validation", run.validation)):
            prepared = self._prepared(dataset, run.scale, asker)
            assert prepared.output is not None
            inputs[place] = prepared.output
            yield prepared
        if isinstance(run.start_from, RunSpec):
            yield from self._trained(run.start_from, asker)
            inputs["start_from"] = self.layout.weights(file_name(run.start_from.name))
        elif file := start_file(train, run.network.name, run.scale):
            inputs["start_from"] = file
        if train.gpus != "auto":
            check_sharing(run.recipe.parts, train.gpus, f"{run.name}: train.")
        yield self._job(
            TrainJob,
            run.name,
            asker,
            inputs,
            run=run,
            data=self.config.data.root,
            packs=self.packs,
            device=self.device,
            compile=train.compile,
            graph=train.graph,
            gpus=train.gpus,
            recompute=train.recompute,
            checkpoint_every=train.checkpoint_every,
            most_skipped=train.most_skipped,
            gates=gates_of(run),
            on_miss=train.on_miss,
            tensorboard=train.tensorboard,
        )

    def _scored(self, subject: Upscaler, dataset: str, asker: str) -> Iterator[Job]:
        """Jobs that prepare a set, upscale it and score the pictures."""
        name, prepared = f"{subject.name}.{dataset}", self._prepared(dataset, subject.scale, asker)
        assert prepared.output is not None
        yield prepared
        folder = self.config.data.root / dataset
        restored = self._job(
            RestoreJob,
            name,
            asker,
            {"data": prepared.output, **self._weights(subject)},
            subject=subject,
            dataset=dataset,
            data=folder,
            device="cpu" if subject.kind == "control" else self.device,
        )
        yield restored
        assert restored.output is not None
        inputs = {"data": prepared.output, "sr": restored.output}
        yield self._job(
            QualityJob, name, asker, inputs, subject=subject, dataset=dataset, data=folder
        )

    def _mapped(self, sets: tuple[str, ...], scales: tuple[Scale, ...], crop: int) -> Iterator[Job]:
        networks = [s for s in self._upscalers() if s.kind != "control" and s.scale in scales]
        for subject, dataset in product(networks, sets):
            prepared = self._prepared(dataset, subject.scale, CONFIG)
            assert prepared.output is not None
            yield prepared
            yield self._job(
                MapJob,
                f"{subject.name}.{dataset}",
                CONFIG,
                {"data": prepared.output, **self._weights(subject)},
                subject=subject,
                dataset=dataset,
                data=self.config.data.root / dataset,
                crop=crop,
                device=self.device,
            )

    def _weights(self, subject: Upscaler) -> dict[str, Path]:
        """The files that a network is loaded from: weights, or a user's own code."""
        match subject:
            case TrainedNetwork():
                return {"weights": self.layout.weights(file_name(subject.name))}
            case ReleasedNetwork(network=network, scale=scale):
                assert self.config.weights is not None
                root = self.config.weights.root
                found = find_weights(root, network.name, scale)
                return {"weights": found or weight_names(root, network.name, scale)[0]}
            case OwnNetwork():
                return self._own_files(subject)
            case _:
                return {}

    def _own_files(self, subject: Network | Upscaler) -> dict[str, Path]:
        if not isinstance(subject, OwnNetwork):
            return {}
        file = read_source(subject.source).file
        return {"own": file} if file else {}

    def _counted(self, network: Network, asker: str) -> CountJob:
        return self._job(
            CountJob,
            network.name,
            asker,
            self._own_files(network),
            subject=network,
            output_size=self.config.efficiency.output_size,
            formulation="paper" if network.spec else None,
        )

    def _timed(self, scales: tuple[Scale, ...], asker: str) -> Iterator[TimeJob]:
        """Time every network in every way that the config asks for."""
        latency = self.config.efficiency.latency
        precisions: tuple[Precision, ...] = latency.precisions or ("float32",)
        launches: tuple[Launch, ...] = latency.launches or ("eager",)
        usual: tuple[int, Precision, Launch] = (1, "float32", "eager")
        loads = [usual, *product((1, *latency.batches), precisions, launches)]
        networks = [n for n in self._networks(scales, self.config.own) if n.scale in scales]
        for network, (batch, precision, launch) in product(networks, dict.fromkeys(loads)):
            for formulation in latency.formulations if network.spec else (None,):
                if formulation is None or is_possible(formulation, precision, launch):
                    yield self._time(network, formulation, precision, launch, batch, asker)
        steps = STEPS[device_kind(self.timing_device)] if latency.taken_apart else ()
        for network, step in product(networks, steps):
            if network.spec:
                yield self._time(network, *step, 1, asker)

    def _time(
        self,
        network: Network,
        formulation: Formulation | None,
        precision: Precision,
        launch: Launch,
        batch: int,
        asker: str,
    ) -> TimeJob:
        latency = self.config.efficiency.latency
        job = self._job(
            TimeJob,
            "",
            asker,
            self._own_files(network),
            subject=network,
            output_size=self.config.efficiency.output_size,
            device=self.timing_device,
            formulation=formulation,
            batch=batch,
            precision=precision,
            launch=launch,
            warmup=latency.warmup,
            warmup_seconds=latency.warmup_seconds,
            samples=latency.samples,
        )
        name = time_name(job)
        return job.model_copy(update={"name": name, "output": self.layout.output("latency", name)})

    def _grown(self) -> Iterator[Job]:
        scaling, latency = self.config.scaling, self.config.efficiency.latency
        assert scaling is not None
        for network in self._networks((scaling.scale,), own=()):
            for over in scaling.over:
                name = f"{network.name}.{over}"
                yield self._job(GrowthJob, name, CONFIG, subject=network, over=over)
            if scaling.samples:
                yield self._job(
                    TimeGrowthJob,
                    f"{network.name}.{self.timing_device}.fused",
                    CONFIG,
                    subject=network,
                    over=scaling.over,
                    device=self.timing_device,
                    warmup=latency.warmup,
                    samples=scaling.samples,
                )

    def _job(
        self,
        kind: type[J],
        name: str,
        asker: str,
        inputs: Mapping[str, Path] | None = None,
        **fields: object,
    ) -> J:
        tag, name = kind.model_fields["kind"].default, file_name(name)
        output = self.layout.output(tag, name)
        values = {"name": name, "inputs": inputs or {}, "output": output, "asked_by": (asker,)}
        return kind.model_validate({**values, **fields})
