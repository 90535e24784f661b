"""The `hitsr` command: each verb reads named files, does one thing, and writes named files.

Progress goes to stderr, results go to stdout or files. Only a verb that needs a heavy package
imports it, when it runs, so that `hitsr --help` is fast.
"""

import signal
import sys
from typing import Annotated

import typer
from pydantic import ValidationError

from hitsr.base.errors import TO_BE_CONTINUED, HitsrError, ToBeContinuedError
from hitsr.base.streams import for_terminal, survive_readers, use_utf_8
from hitsr.base.values import explained
from hitsr.cli import (
    attribution,
    challenge,
    costing,
    exporting,
    keeping,
    networks,
    outlook,
    pipeline,
    planning,
    reporting,
    running,
    upscaling,
)
from hitsr.plan.jobs import KINDS
from hitsr.records.provenance import versions

# Values of options that no job takes are told as those of a config are.
JOBS = {job.__name__: job for job in KINDS.values()}

app = typer.Typer(
    help="Reproduce and ablate hierarchical super-resolution transformers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (
    planning.resolve,
    outlook.plan,
    pipeline.prepare,
    pipeline.train,
    pipeline.restore,
    pipeline.quality,
    costing.complexity,
    costing.scaling,
    costing.latency,
    costing.scaling_time,
    challenge.ntire,
    attribution.lam,
    attribution.sheet,
    networks.convert,
    upscaling.upscale,
    exporting.export,
    networks.fetch_weights,
    reporting.collect,
    reporting.report,
    reporting.index,
    reporting.compare,
    keeping.verify,
    keeping.archive,
    planning.doctor,
):
    app.command()(verb)
# Its options but --profile are Snakemake's.
app.command(context_settings={"ignore_unknown_options": True})(running.run)


def _print_versions(asked: bool) -> None:
    if asked:
        print(", ".join(f"{name} {found}" for name, found in versions().items()))
        raise typer.Exit


@app.callback()
def _before_verbs(
    _: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_versions,
            is_eager=True,
            help="print the versions of hitsr and of what its numbers depend on",
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; print users' errors without a traceback, and exit with status 1.

    A termination ends it as an interrupt does, so that temporary files are removed; a training
    that takes steps saves itself first, and exits with status TO_BE_CONTINUED.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    use_utf_8()
    survive_readers()
    try:
        app()
    except UnicodeEncodeError as error:  # a path of a config or job
        sys.exit(f"hitsr: {error.object!r}: no path in this locale's encoding; set PYTHONUTF8=1")
    except ToBeContinuedError as error:
        print(for_terminal(f"hitsr: {error}"), file=sys.stderr)
        sys.exit(TO_BE_CONTINUED)
    except HitsrError as error:
        sys.exit(for_terminal(f"hitsr: {error}"))
    except OSError as error:
        said = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        sys.exit(for_terminal(f"hitsr: {said}"))
    except ValidationError as error:
        if error.title not in JOBS:  # that only a fault of hitsr can cause
            raise
        said = "\n".join(f"hitsr: {line}" for line in explained(JOBS[error.title], error))
        sys.exit(for_terminal(said))
