"""A run as one file that needs no torch: graph, contract, parity, README."""
