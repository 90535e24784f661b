"""One seed per run; each use of chance gets a seed of its own, named and derived from it.

So the weights a run starts with do not change when its patches draw one more number.
"""

import hashlib


def derive(seed: int, use: str) -> int:
    """The seed of one named use, in 0..2**63-1: `derive(run.seed, "weights")`."""
    digest = hashlib.sha256(f"{seed}/{use}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
