"""What the benchmarks share: loads, contenders, rounds, tables. Not part of shm-echo itself."""
