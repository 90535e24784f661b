"""Export networks for others to use, and load or download published ones."""
