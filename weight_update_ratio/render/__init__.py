"""Renderings of a Report, a module each: a function from a Report to text."""
