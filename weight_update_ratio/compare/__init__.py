"""Saved steps, to rows: which steps are compared, with which references, and what that gives."""
