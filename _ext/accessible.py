"""Repair, in the finished pages, what the theme leaves inaccessible."""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
