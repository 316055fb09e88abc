"""Rows, to bounds, verdicts and what fires."""
