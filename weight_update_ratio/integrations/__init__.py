"""Callbacks of training frameworks: one module each, which imports its framework and nothing else does."""
