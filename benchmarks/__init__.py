"""Benchmarks: what sweeps cost on a machine, each at full size or at its smallest."""
