"""The one config of a run of Snakemake, checked before Snakemake reads it.

Snakemake reads configs by a loader of its own, before the Snakefile, and prints a traceback for
what it cannot read. The profile in workflow/profiles is loaded earlier still, and calls `check`.
"""

import sys
from argparse import ArgumentParser
from collections.abc import Collection, Sequence
from pathlib import Path

from hitsr.base.errors import HitsrError, SpecError
from hitsr.specs.config import find_config, load_config

DEFAULT = "demo"


def check(arguments: Sequence[str]) -> None:
    """End the process with a sentence if Snakemake's arguments name several or invalid configs."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(
        "--configfile", "--configfiles", type=Path, nargs="*", action="extend", default=[]
    )
    parser.add_argument("--config", "-C", nargs="*", action="extend", default=[])
    given, _ = parser.parse_known_args(arguments)
    try:
        file = config_file(given.configfile, given.config)
        if given.configfile:  # otherwise the Snakefile reads the default, and Snakemake nothing
            load_config(file)
    except HitsrError as error:
        sys.exit(f"hitsr: {error}")


def config_file(files: Sequence[Path | str], values: Collection[str]) -> Path:
    """The config that Snakemake is given; SpecError for several, and for `values` of --config."""
    if len(files) > 1 or values:
        raise SpecError(
            "settings come from one config file: copy one in configs/, change it, and pass it with "
            "--configfile FILE, after the targets; leave out --config and other files"
        )
    return Path(files[0]) if files else find_config(Path(DEFAULT))
