"""Verbs about networks and released weights: convert, fetch-weights."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from hitsr.base.errors import SpecError, WeightsError
from hitsr.cli import options
from hitsr.cli.options import check_scale, say
from hitsr.cli.subject import scaled
from hitsr.specs.convert import EXPANDING, to_hierarchical
from hitsr.specs.zoo import NETWORKS, find


def convert(
    network: Annotated[str, Argument(help="name of a network, or file of a network's spec")],
    ratios: Annotated[
        str | None, Option(help="window sides relative to the base window: 0.5,1,2,4,6,8")
    ] = None,
    base: Annotated[int, Option(min=1, help="side of the base window")] = 8,
    scale: options.MaybeScale = None,
) -> None:
    """Print a network's hierarchical conversion; on stderr parameters and FLOPs before and after.

    The default scale is the one in the network's file, else 2.
    """
    from hitsr import api

    named = scaled(network, scale, 2)
    before = named.network
    chosen = tuple(_number(part) for part in ratios.split(",")) if ratios is not None else EXPANDING
    after = to_hierarchical(before, base=base, ratios=chosen)
    print(after.to_json(), end="")
    for label, spec in (("before", before), ("after", after)):
        counted = api.complexity(spec, named.scale)
        say(f"{label:>6}: {counted.params:>9,} parameters, {counted.flops / 1e9:6.2f} G FLOPs")


def fetch_weights(
    networks: Annotated[
        list[str] | None, Argument(metavar="[NETWORK]...", help="default: all six")
    ] = None,
    scale: Annotated[
        list[int] | None, Option("--scale", "-s", help="2, 3 or 4; repeatable; default: all")
    ] = None,
    out: Annotated[Path, Option(help="folder; existing files are kept")] = Path("weights"),
    reports: options.Reports = options.REPORTS,
) -> None:
    """Download the weights that authors published, and check each file by loading it.

    Prints the files that are present at the end; exit status 1 if any is missing.
    """
    names = networks or list(NETWORKS)
    for name in names:
        find(name)
    factors = [check_scale(factor) for factor in scale or (2, 3, 4)]
    from hitsr.share.fetching import fetch, read_releases, release_of

    releases, failed = read_releases(reports / "published" / "sources.csv"), 0
    for name in names:
        for factor in factors:
            try:
                path, is_new = fetch(release_of(name, releases), factor, out, say)
            except WeightsError as error:
                failed += 1
                say(f"hitsr: {error}")
            else:
                print(path)
                say(f"{name} x{factor}: {'fetched' if is_new else 'existed'}, loads")
    if failed:
        say(f"{failed} of {len(names) * len(factors)} could not be fetched")
        raise typer.Exit(1)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SpecError(
            f"--ratios: {text!r} is not a number; give ratios such as 0.5,1,2,4,6,8"
        ) from None
