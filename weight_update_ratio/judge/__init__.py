"""Saved steps, to comparisons and what is wrong with them."""
