"""What can be run, as values: networks, recipes, runs, configs, ablations and claims."""
