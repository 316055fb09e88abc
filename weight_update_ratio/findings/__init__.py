"""Rows and verdicts, to what is wrong with a run: kinds and numbers, no words."""
