"""Healthy trainings of small nets, recorded and judged: none may be called sick by the default check."""
