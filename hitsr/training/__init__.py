"""A small, exact training loop: one seed gives one result, to the byte, on one machine."""
