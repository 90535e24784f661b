"""Doubts about a measurement, in words: its number is shown, marked, with these beside it."""

from hitsr.records.challenge import NtireRecord
from hitsr.records.cost import Complexity


def count_doubts(counted: Complexity | NtireRecord) -> tuple[str, ...]:
    """What the count of FLOPs lacks; empty for a whole count."""
    if not counted.unknown:
        return ()
    calls = (f"{name} ({n} call{'s' * (n > 1)})" for name, n in counted.unknown.items())
    return (f"FLOPs lack what these compute: {', '.join(calls)}",)
