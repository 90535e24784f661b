"""One thread for every test and what it starts: tiny networks gain nothing from more."""

import os

os.environ["OMP_NUM_THREADS"] = "1"
