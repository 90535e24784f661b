"""The verb that examines the machine: doctor."""

import json
from pathlib import Path
from typing import Annotated

import typer

from hitsr.cli.options import JsonOption
from hitsr.specs.config import load_config


def doctor(
    config: Annotated[
        Path | None, typer.Argument(help="look for this config's data and weights as well")
    ] = None,
    reports: Annotated[Path, typer.Option(help="folder of published sources")] = Path("reports"),
    as_json: JsonOption = False,
) -> None:
    """Say what will not work here, and how to mend it; exit status 1 if something is missing."""
    from hitsr.cli.examination import examine, fails, to_text

    findings = examine(load_config(config) if config else None, reports)
    if as_json:
        print(json.dumps([finding.model_dump() for finding in findings], indent=2))
    else:
        print(to_text(findings))
    raise typer.Exit(1 if fails(findings) else 0)
