"""The published code's networks, from a file of the user's; nothing of them is part of hitsr.

`FILE.py` has a function for each network, such as `swinir_light(scale=2)`, that returns the network
of the published code.
"""

from pathlib import Path
from typing import Annotated

import typer
from torch import nn

from hitsr.models.own import load_own

Published = Annotated[Path | None, typer.Option(help="Your file of published networks.")]


def load_published(file: Path, name: str, scale: int) -> nn.Module:
    """The network that the file's function `name` returns, in eval mode.

    Raises SpecError as `load_own` does.
    """
    return load_own(f"{file}:{name}", scale)
