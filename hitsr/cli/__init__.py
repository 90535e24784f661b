"""The `hitsr` command: each verb reads named files, does one thing, and writes named files.

Progress goes to stderr, results to stdout or files. Heavy packages are imported by the verbs that
need them, so that `hitsr --help` answers at once.
"""

import sys

import typer

from hitsr.base.errors import HitsrError
from hitsr.cli import (
    attribution,
    comparing,
    costing,
    doctor,
    exporting,
    fetching,
    measuring,
    networks,
    pipeline,
    reporting,
    timing,
    upscaling,
)

app = typer.Typer(
    help="Reproduce and ablate hierarchical super-resolution transformers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for verb in (
    pipeline.resolve,
    pipeline.prepare,
    pipeline.train,
    pipeline.restore,
    measuring.quality,
    costing.complexity,
    costing.scaling,
    timing.latency,
    timing.scaling_time,
    attribution.lam,
    attribution.sheet,
    networks.convert,
    upscaling.upscale,
    exporting.export,
    fetching.fetch_weights,
    reporting.collect,
    reporting.report,
    reporting.index,
    comparing.compare,
    doctor.doctor,
):
    app.command()(verb)


def main() -> None:
    """Run the command line; users' errors are printed without a traceback, with exit status 1."""
    try:
        app()
    except (HitsrError, OSError) as error:
        sys.exit(f"hitsr: {error}")
