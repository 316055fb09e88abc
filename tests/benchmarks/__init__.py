"""The benchmark: ``python -m tests.benchmarks`` prints the README's tables."""
