"""The common part of the benchmarks: loads, contenders, rounds, tables. Not part of shm-echo."""

import os

# Interpreters that a benchmark starts must not import modules from the current folder, where a
# random.py may lie. Python 3.10 does not know the variable; all later versions do.
os.environ["PYTHONSAFEPATH"] = "1"
