"""Jobs: everything that a config and its ablations request, and the files involved."""
