"""Whether torch.compile has the compiler that it needs. Told before long work, in a sentence."""

import os
import shutil

from hitsr.base.errors import SpecError

_NAMES = ("g++", "clang++", "cl")


def check_compiler() -> None:
    """SpecError where neither CXX nor the path names a C++ compiler: kernels are built by it."""
    asked = os.environ.get("CXX")
    if any(map(shutil.which, [asked] if asked else _NAMES)):
        return
    found = (
        f"CXX is {asked!r}, which is not there" if asked else f"found none of {', '.join(_NAMES)}"
    )
    raise SpecError(
        f"torch.compile needs a C++ compiler: {found}; install one, such as g++, or do not compile"
    )
