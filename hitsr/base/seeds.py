"""Derive separate random seeds from a run's one seed: one for weights, one for patches, and so on.

Separate seeds keep uses apart: drawing one more random number for patches does not change the
initial weights.
"""

import hashlib


def derive(seed: int, use: str) -> int:
    """The seed for one named use, in 0..2**63-1: `derive(run.seed, "weights")`."""
    digest = hashlib.sha256(f"{seed}/{use}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
