"""The verb that starts the pipeline: run."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from hitsr.base.errors import SpecError, did_you_mean
from hitsr.base.files import visible
from hitsr.base.shipped import SHIPPED
from hitsr.cli import options
from hitsr.plan.command_line import DEFAULT
from hitsr.specs.config import find_config, load_config

_WORKFLOW = SHIPPED / "workflow"
_PROFILES = {path.name: path for path in visible(_WORKFLOW / "profiles", "*")}


def run(
    config: options.ConfigArgument = Path(DEFAULT),
    arguments: Annotated[
        list[str] | None,
        Argument(help="Snakemake's targets and options, such as ablation_softmax, -n or --cores 4"),
    ] = None,
    profile: Annotated[
        list[str] | None,
        Option(help=f"one of hitsr's: {', '.join(_PROFILES)}; or one of yours, as for Snakemake"),
    ] = None,
) -> None:
    """Run the pipeline of CONFIG in this folder: what is not done yet, and then its report.

    Results go to results/<name of the config>. Snakemake takes over this process: signals and the
    exit status are its own.
    """
    if str(config).startswith("-") and not config.is_file():
        raise SpecError(
            f"run {config}: the config comes before arguments of Snakemake, as in "
            f"`hitsr run {DEFAULT} --cores 2`"
        )
    if find_spec("snakemake") is None:
        raise SpecError("run: needs the package snakemake; run `pip install snakemake`")
    file = find_config(config)
    load_config(file)
    command = [sys.executable, "-m", "snakemake", f"--configfile={file}"]
    command += ["--snakefile", str(_WORKFLOW / "Snakefile")]
    for name in profile or ():
        command += _profile(name)
    # Rules call `hitsr`: the one that was called here.
    path = os.pathsep.join([str(Path(sys.argv[0]).absolute().parent), os.environ.get("PATH", "")])
    environment = {"PYTHONUTF8": "1", **os.environ, "PATH": path}
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [*command, *(arguments or ())], environment)


def _profile(name: str) -> list[str]:
    """Snakemake's words for a profile of ours, or of the user's; SpecError if there is none."""
    if name in _PROFILES:
        # Values of the workflow's profile are the stronger ones: ours replaces the default.
        return ["--workflow-profile", str(_PROFILES[name])]
    from snakemake.common import get_appdirs

    places = get_appdirs()
    folders = [Path(), Path(places.user_config_dir), Path(places.site_config_dir)]
    if not any((folder / name).exists() for folder in folders):
        raise SpecError(
            f"--profile {name}: neither one of hitsr's nor a folder here or in {folders[1]}; "
            f"{did_you_mean(name, _PROFILES)}"
        )
    return ["--profile", name]
