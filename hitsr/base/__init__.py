"""Values, errors, files, seeds and progress: nothing here knows of super-resolution."""
