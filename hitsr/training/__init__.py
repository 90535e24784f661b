"""The training loop: on one machine, one seed gives the same weights, byte for byte."""
