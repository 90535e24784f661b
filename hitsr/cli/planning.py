"""Verbs about a config before it runs: resolve, doctor."""

import json
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument

from hitsr.base.errors import SpecError, did_you_mean
from hitsr.base.values import Value
from hitsr.cli import options
from hitsr.plan.jobs import CountJob, TimeJob, TrainJob
from hitsr.plan.planning import Plan, make_plan
from hitsr.plan.subjects import BuiltNetwork
from hitsr.specs.ablation import read_ablations
from hitsr.specs.config import load_config, recipe_words
from hitsr.specs.network import ScaledNetwork


def resolve(
    config: options.ConfigArgument,
    name: Annotated[
        str | None, Argument(help="a network: hit_sir-x2, or a run: hit_sir-x2-s1")
    ] = None,
    ablations: options.Ablations = options.ABLATIONS,
) -> None:
    """Print a network or run of a config with every value explicit; without NAME, list all names.

    Networks and runs of ablations are included, if they are possible with this config. What became
    of a named recipe is told on stderr.
    """
    loaded = load_config(config)
    known = _known(make_plan(loaded, read_ablations(ablations)))
    if name is None:
        for line in recipe_words(loaded):
            options.say(line)
        print("\n".join(known))
    elif name in known:
        print(known[name].to_json(), end="")
    else:
        raise SpecError(f"{config}: no network or run {name!r}; {did_you_mean(name, known)}")


def doctor(
    config: Annotated[
        Path | None, Argument(help="also check the data and weights of this config, file or name")
    ] = None,
    reports: options.Reports = options.REPORTS,
    ablations: options.Ablations = options.ABLATIONS,
    as_json: options.Json = False,
) -> None:
    """Report what is missing on this machine, and how to fix it; exit status 1 if anything is."""
    from hitsr.cli.examination import examine, fails, to_text

    plan = make_plan(load_config(config), read_ablations(ablations)) if config else None
    findings = examine(plan, reports)
    if as_json:
        print(json.dumps([finding.model_dump() for finding in findings], indent=2))
    else:
        print(to_text(findings))
    raise typer.Exit(1 if fails(findings) else 0)


def _known(plan: Plan) -> dict[str, Value]:
    """By name: networks whose costs are measured, then training runs."""
    networks: dict[str, Value] = {}
    runs: dict[str, Value] = {}
    for job in plan.jobs:
        match job:
            case TrainJob(run=run):
                runs[run.name] = run
            case CountJob() | TimeJob() if isinstance(job.subject, BuiltNetwork):
                network, scale = job.subject.network, job.subject.scale
                networks[job.subject.name] = ScaledNetwork(network=network, scale=scale)
    return networks | runs
