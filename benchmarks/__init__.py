"""Measurements that the documentation quotes; `make test` does not run them."""
