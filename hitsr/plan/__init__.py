"""Jobs: all that a config and its ablations ask for, and what makes each."""
