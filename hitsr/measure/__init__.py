"""Measure networks (complexity, latency, memory, attribution) and score finished pictures."""
