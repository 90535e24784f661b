"""The published code's networks, from a file of the user's; nothing of them is part of hitsr.

`FILE.py` has a function for each network, such as `swinir_light(scale=2)`, that returns the network
of the published code.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from torch import nn

from hitsr.base.errors import SpecError
from hitsr.models.own import load_own
from hitsr.specs.zoo import find

Published = Annotated[Path | None, typer.Option(help="Your file of published networks.")]


def load_published(file: Path, name: str, scale: int) -> nn.Module:
    """The network that the file's function `name` returns, in eval mode.

    Raises SpecError as `load_own` does.
    """
    return load_own(f"{file}:{name}", scale)


def check(networks: Iterable[str], file: Path | None) -> None:
    """End the program with a message if a network is unknown, or the file does not return it.

    Called before anything is measured, so that no machine's time is lost.
    """
    for name in networks:
        try:
            find(name)
            if file is not None:
                load_published(file, name, 2)
        except SpecError as error:
            sys.exit(str(error))
