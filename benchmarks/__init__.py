"""Measurements that the documentation quotes; `make test` checks agreement alone."""
