"""Verbs about networks as values: convert."""

from typing import Annotated

import typer

from hitsr.base.errors import SpecError
from hitsr.cli.options import NetworkArgument, ScaleOption, say, scaled
from hitsr.specs.convert import EXPANDING, to_hierarchical


def convert(
    network: NetworkArgument,
    ratios: Annotated[
        str | None, typer.Option(help="window sides over the base, such as 0.5,1,2,4,6,8")
    ] = None,
    base: Annotated[int, typer.Option(min=1, help="side of the base window")] = 8,
    scale: ScaleOption = 2,
) -> None:
    """Print a network's hierarchical conversion, and what changes in parameters and FLOPs."""
    from hitsr import api

    before = scaled(network, scale).network
    chosen = tuple(_number(part) for part in ratios.split(",")) if ratios else EXPANDING
    after = to_hierarchical(before, base=base, ratios=chosen)
    print(after.to_json(), end="")
    for label, spec in (("before", before), ("after", after)):
        counted = api.complexity(spec, scale)
        say(f"{label:>6}: {counted.params:>9,} parameters, {counted.flops / 1e9:6.2f} G FLOPs")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SpecError(f"--ratios: {text!r} is no number; want such as 0.5,1,2,4,6,8") from None
