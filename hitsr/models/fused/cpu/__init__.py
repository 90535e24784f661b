"""For CPUs, where memory is slower than arithmetic: features and scores stay in a core's cache."""
