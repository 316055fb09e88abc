"""The one place of the version: the package, the build and the single file read it here."""

from __future__ import annotations

__version__ = "0.1.0"
