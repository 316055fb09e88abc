"""The benchmark: ``python -m tests.benchmarks`` prints the tables of its README."""
