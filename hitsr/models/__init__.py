"""The networks: window arithmetic, mixers in two formulations, and one backbone for all."""
