"""The parts of `tcp_throughput.py`: servers, clients, pairings of both, a module per part."""
