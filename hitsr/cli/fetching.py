"""The verb that fetches published weights: fetch-weights."""

from pathlib import Path
from typing import Annotated

import typer

from hitsr.base.errors import WeightsError
from hitsr.cli.options import check_scale, say
from hitsr.specs.zoo import NETWORKS, find


def fetch_weights(
    networks: Annotated[
        list[str] | None, typer.Argument(metavar="[NETWORK]...", help="by default all six")
    ] = None,
    scale: Annotated[
        list[int] | None, typer.Option("--scale", "-s", help="2, 3 or 4; repeat; by default all")
    ] = None,
    out: Annotated[Path, typer.Option(help="folder; what is there is kept")] = Path("weights"),
    reports: Annotated[Path, typer.Option(help="folder of published sources")] = Path("reports"),
) -> None:
    """Fetch the weights that authors published, each checked by loading it.

    Prints the files that are there when done; exit status 1 if any could not be had.
    """
    names, scales = networks or list(NETWORKS), scale or [2, 3, 4]
    for name in names:
        find(name)
    for factor in scales:
        check_scale(factor)
    from hitsr.share.fetching import fetch, read_releases, release_of

    releases, failed = read_releases(reports / "published" / "sources.csv"), 0
    for name in names:
        for factor in scales:
            try:
                path, is_new = fetch(release_of(name, releases), factor, out)
            except WeightsError as error:
                failed += 1
                say(f"hitsr: {error}")
            else:
                print(path)
                say(f"{name} x{factor}: {'fetched' if is_new else 'was there'}, loads")
    if failed:
        say(f"{failed} of {len(names) * len(scales)} could not be had")
        raise typer.Exit(1)
