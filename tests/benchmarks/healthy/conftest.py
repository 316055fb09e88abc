"""Keeps the benchmark out of the collection of tests: its modules need torch and scikit-learn."""

from __future__ import annotations

collect_ignore_glob = ["*.py"]
