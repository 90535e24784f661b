"""Check for the C++ compiler that torch.compile needs, before long work starts."""

import os
import shutil

from hitsr.base.errors import SpecError

_COMPILERS = ("g++", "clang++", "cl")


def check_compiler() -> None:
    """Raise SpecError if no C++ compiler is found: that in CXX, or else a usual one on PATH."""
    chosen = os.environ.get("CXX")
    if any(map(shutil.which, [chosen] if chosen else _COMPILERS)):
        return
    reason = (
        f"CXX is {chosen!r}, which does not exist"
        if chosen
        else f"found none of {', '.join(_COMPILERS)}"
    )
    raise SpecError(
        f"torch.compile needs a C++ compiler: {reason}; "
        "install one, such as g++, or run without compiling"
    )
