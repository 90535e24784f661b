"""The `hitsr` command: each verb reads named files, does one thing, and writes named files.

Progress goes to stderr, results go to stdout or files. Only a verb that needs a heavy package
imports it, when it runs, so that `hitsr --help` is fast.
"""

import sys

import typer

from hitsr.base.errors import HitsrError
from hitsr.cli import (
    attribution,
    costing,
    exporting,
    networks,
    pipeline,
    planning,
    reporting,
    upscaling,
)

app = typer.Typer(
    help="Reproduce and ablate hierarchical super-resolution transformers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for verb in (
    planning.resolve,
    pipeline.prepare,
    pipeline.train,
    pipeline.restore,
    pipeline.quality,
    costing.complexity,
    costing.scaling,
    costing.latency,
    costing.scaling_time,
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
    planning.doctor,
):
    app.command()(verb)


def main() -> None:
    """Run the command line; print users' errors without a traceback, and exit with status 1."""
    try:
        app()
    except (HitsrError, OSError) as error:
        sys.exit(f"hitsr: {error}")
