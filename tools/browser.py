"""Where the browser is that draws and prints pages."""

from __future__ import annotations

import os
import shutil


def chromium() -> str:
    """The path of Chromium or Chrome: `CHROMIUM`, or what the system finds.

    Raises:
        SystemExit: There is none.
    """
    path = (
        os.environ.get("CHROMIUM")
        or shutil.which("chromium")
        or shutil.which("google-chrome")
    )
    if path is None:
        raise SystemExit(
            "No Chromium on this machine: install it, or set CHROMIUM to its path"
        )
    return path
