"""The verb plan: what a config will take before it is started, and what a change would do again."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, cast

import yaml
from typer import Option

from hitsr.base.errors import SpecError
from hitsr.base.files import sha256, visible
from hitsr.base.reading import parse_yaml, read_yaml
from hitsr.base.shipped import shipped
from hitsr.cli import options
from hitsr.cli.options import say
from hitsr.cli.outlook_text import to_text
from hitsr.plan.durations import Machine, recorded_times
from hitsr.plan.fingerprint import code_of
from hitsr.plan.gpus import gpu_names
from hitsr.plan.jobs import PrepareJob, TrainJob, device_kind
from hitsr.plan.needs import available_device, model_of
from hitsr.plan.outlook import Known, outlook
from hitsr.plan.picture_sets import hr_folder, is_picture
from hitsr.plan.planning import Plan, make_plan
from hitsr.plan.rates import measured_rates, table_rates
from hitsr.plan.reasons import Step, config_words, steps_of
from hitsr.plan.room import known_parameters
from hitsr.plan.standing import standings
from hitsr.records.provenance import cpu_name
from hitsr.specs.ablation import Ablation, read_ablations
from hitsr.specs.config import Config, checked, find_config

if TYPE_CHECKING:
    from hitsr.data.photographs import Split

Set = Annotated[
    list[str] | None,
    Option(
        "--set",
        metavar="KEY=VALUE",
        help="plan with another value at a dotted path of the config, such as "
        "train.recipe.steps=2000; nothing is written; repeatable",
    ),
]


class Asked(NamedTuple):
    """The config that is planned, and its text if it is not that of a file."""

    config: Config
    text: str | None


def plan(
    config: options.ConfigArgument,
    changes: Set = None,
    against: Annotated[
        Path | None,
        Option(help="another config, of whose results to say what CONFIG would make anew in them"),
    ] = None,
    measure: Annotated[
        bool,
        Option("--measure", help="first time some steps of each kind of training on this device"),
    ] = False,
    on: Annotated[
        str | None,
        Option(metavar="GPU", help='plan for a GPU of another machine: "NVIDIA H100 80GB HBM3"'),
    ] = None,
    gpus: Annotated[int | None, Option(min=1, help="default: those that there are")] = None,
    cores: Annotated[int | None, Option(min=1, help="default: those that there are")] = None,
    as_json: options.Json = False,
) -> None:
    """Print what a config will take: jobs, device-hours, disk, order; what is done, and what the
    pipeline would do now and why. Nothing is written, except by --measure.
    """
    file, reports, known_ablations = find_config(config), shipped(options.REPORTS), read_ablations()
    asked = planned_config(file, changes or [], against)
    planned = _on_gpu(asked.config) if on else asked.config
    # Others cost time, and no job of theirs is shown; all are known where a name is none of them.
    own = {name: known_ablations[name] for name in planned.ablations if name in known_ablations}
    is_known = len(own) == len(planned.ablations)
    made = make_plan(planned, own if is_known else known_ablations)
    machine = _machine(made, on, gpus, cores)
    results, threads = made.layout.results, _threads(made, machine)
    standing = None
    if results.is_dir():
        say("asking Snakemake what it would do ...")
        standing = standings(asked.text or file, results)
    pages = _pages(asked.config, known_ablations, reports, made.layout.config)
    steps = steps_of(made, standing, pages)
    if measure:
        if on:
            raise SpecError("--measure: measures on this machine; leave out --on")
        _measure(steps, made, threads)
    known = Known(
        rates=[*measured_rates(results), *table_rates(reports)],
        took=recorded_times(results),
        sizes=_sizes(made),
        parameters=known_parameters(results, reports),
    )
    found = outlook(made, steps, machine, threads, known)
    print(found.to_json() if as_json else to_text(found), end="" if as_json else "\n")


def _pages(
    config: Config, known: Mapping[str, Ablation], reports: Path, before: Path
) -> dict[str, Sequence[str]]:
    """What the pipeline notes of a page beside the results that it shows, by what changed."""
    words = ""
    with suppress(SpecError):  # without the copy of the config that was run last
        old, new = (each.model_dump(mode="json") for each in (Config.read(before), config))
        words = config_words(old, new)
    return {
        words or "the title or other settings of its config changed": [config.hash],
        "an ablation’s file changed": [known[name].hash for name in config.ablations],
        "the code of reports changed": [code_of("report")],
        "its templates or published numbers changed": [
            sha256(path) for path in visible(reports, "**/*") if path.is_file()
        ],
    }


def _measure(steps: Sequence[Step], made: Plan, threads: int) -> None:
    """Time steps of the trainings that are to do, and keep that beside their results."""
    from hitsr.cli.doing.stepping import measure_steps

    left = [step.job for step in steps if step.state != "done"]
    trainings = [job for job in left if isinstance(job, TrainJob)]
    measure_steps(trainings, made.layout.rates, threads)


def planned_config(file: Path, changes: Sequence[str], against: Path | None) -> Asked:
    """The config in a file with other values, and with the name of the one it is held against."""
    raw = read_yaml(file)
    if not changes and against is None:
        return Asked(checked(Config.parse(raw, str(file)), str(file)), None)
    if not isinstance(raw, dict):
        Config.parse(raw, str(file))  # says what is wrong
    for change in changes:
        key, equals, value = change.partition("=")
        if not (key and equals):
            raise SpecError(f"--set {change}: write KEY=VALUE, such as train.recipe.steps=2000")
        _set(raw, key, parse_yaml(value, f"--set {key}"), f"--set {change}")
    if against:
        raw["name"] = Config.read(find_config(against)).name
    where = " ".join([str(file), *(f"--set {change}" for change in changes)])
    config = checked(Config.parse(raw, where), where)
    return Asked(config, yaml.safe_dump(raw, allow_unicode=True, sort_keys=False))


def _set(data: dict[str, Any], key: str, value: Any, where: str) -> None:
    """Set a value at a dotted path, in place; what is missing on the way is added."""
    first, dot, rest = key.partition(".")
    if key in data or not dot:
        data[key] = value
        return
    inner = data.setdefault(first, {})
    if not isinstance(inner, dict):
        raise SpecError(f"{where}: {first} is {inner!r} in the config; set {first} as a whole")
    if first == "changes":  # its keys are dotted paths themselves
        inner[rest] = value
    else:
        _set(inner, rest, value, where)


def _on_gpu(config: Config) -> Config:
    """A config whose devices, where they are `auto`, are GPUs."""
    latency = config.efficiency.latency
    if latency.device == "auto":
        timed = latency.model_copy(update={"device": "cuda"})
        efficiency = config.efficiency.model_copy(update={"latency": timed})
        config = config.model_copy(update={"efficiency": efficiency})
    if config.train and config.train.device == "auto":
        train = config.train.model_copy(update={"device": "cuda"})
        config = config.model_copy(update={"train": train})
    return config


def _machine(made: Plan, on: str | None, gpus: int | None, cores: int | None) -> Machine:
    """The machine to plan for: this one, or one with GPUs of a model."""
    config = made.config
    asked = config.train.device if config.train else config.efficiency.latency.device
    device = available_device(asked)
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    is_gpu = on is not None or device_kind(device) == "cuda"
    there = 1 if on else len(gpu_names())
    return Machine(
        cpu=cpu_name(),
        device=on or model_of(device),
        is_gpu=is_gpu,
        cores=cores or usable or 1,
        gpus=gpus or max(1, there),
    )


def _threads(made: Plan, machine: Machine) -> int:
    """CPU threads of one training; without training, of restoring and mapping."""
    return made.config.train.threads if made.config.train else machine.cores


def _sizes(made: Plan) -> dict[str, list[tuple[int, int]]]:
    """Sizes of the HR pictures of each set whose pictures are there."""
    from hitsr.data.images import size_in_header
    from hitsr.data.photographs import photographs

    found: dict[str, list[tuple[int, int]]] = {}
    for job in made.reported:
        if not isinstance(job, PrepareJob) or job.dataset in found:
            continue
        if job.source.startswith("wheels:"):
            files = [each.locate() for each in photographs(cast("Split", job.dataset))]
        else:
            folder = hr_folder(job.folder, job.scale)
            there = visible(folder, "*") if folder else []
            files = [path for path in there if is_picture(path.name)]
        sizes = [size_in_header(path) for path in files]
        if sizes and None not in sizes:
            found[job.dataset] = [size for size in sizes if size]
    return found
