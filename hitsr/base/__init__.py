"""Values, errors, files, seeds and progress bars: nothing here depends on super-resolution."""
