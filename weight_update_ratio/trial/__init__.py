"""Bytes of a trial folder, to saved steps."""
