"""Parts of `loader_throughput.py`: the datasets, the loaders and the process that drives one."""
