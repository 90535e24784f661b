"""The one config of a run of Snakemake, checked before Snakemake reads it.

Snakemake reads configs by a loader of its own, before the Snakefile, and prints a traceback for
what it cannot read. Profiles in workflow/profiles are loaded earlier still, and call `check`.
"""

import hashlib
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Collection, Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from hitsr.base.errors import HitsrError, SpecError
from hitsr.specs.config import find_config, load_config

DEFAULT = "demo"


def check(arguments: Sequence[str]) -> None:
    """End the process with a sentence if Snakemake's arguments name several or invalid configs.

    Likewise if Snakemake's cache cannot be written, which it would tell by a traceback.
    """
    _check_cache()
    given = _given(arguments)
    try:
        file = config_file(given.configfile, given.config)
        if given.configfile:  # otherwise the Snakefile reads the default, and Snakemake nothing
            load_config(file)
    except HitsrError as error:
        sys.exit(f"hitsr: {error}")


def _check_cache() -> None:
    from snakemake.common import get_appdirs  # loaded already where this runs

    folder = Path(get_appdirs().user_cache_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder):
            pass
    except OSError as error:
        sys.exit(
            f"hitsr: {folder}: {error.strerror}; Snakemake needs this folder: set XDG_CACHE_HOME "
            "to one that can be written"
        )


def job_prefix(arguments: Sequence[str]) -> str:
    """How names of a cluster's jobs begin, one for each results folder: "hitsr_1f0a93bc".

    By it `plan.queued` finds what an earlier pipeline has left. The arguments are checked.
    """
    given = _given(arguments)
    name = load_config(config_file(given.configfile, given.config)).name
    return f"hitsr_{hashlib.sha256(str(Path.cwd() / name).encode()).hexdigest()[:8]}"


def _given(arguments: Sequence[str]) -> Namespace:
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(
        "--configfile", "--configfiles", type=Path, nargs="*", action="extend", default=[]
    )
    parser.add_argument("--config", "-C", nargs="*", action="extend", default=[])
    return parser.parse_known_args(arguments)[0]


def share_disk(executor: str) -> None:
    """Let an executor of Snakemake, such as "aws-batch", work in a folder that all machines see.

    Those of clouds say of themselves that machines share no disk: Snakemake would then copy files
    to a store and back, which it knows of, while records and pictures are found by their paths.
    Ends the process with a sentence if the executor is not installed.
    """
    package = f"snakemake-executor-plugin-{executor}"
    try:
        settings = import_module(package.replace("-", "_")).common_settings
    except ModuleNotFoundError:
        sys.exit(f"hitsr: executor {executor}: is not installed; `pip install {package}`")
    settings.implies_no_shared_fs = False
    settings.job_deploy_sources = False  # the folder holds them
    settings.auto_deploy_default_storage_provider = False


def config_file(files: Sequence[Path | str], values: Collection[str]) -> Path:
    """The config that Snakemake is given; SpecError for several, and for `values` of --config."""
    if len(files) > 1 or values:
        raise SpecError(
            "settings come from one config file: copy one in configs/, change it, and pass it with "
            "--configfile FILE, after the targets; leave out --config and other files"
        )
    return Path(files[0]) if files else find_config(Path(DEFAULT))
