"""Show the built book on a local web server: `python tools/serve.py`."""

from __future__ import annotations

import argparse
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

from toc import ROOT


class Quiet(SimpleHTTPRequestHandler):
    """Serve files without a line for each."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--port", type=int, default=8000, help="taken or not: the next free one"
    )
    port = parser.parse_args().port
    folder = ROOT / "_build" / "html"
    if not (folder / "index.html").exists():
        raise SystemExit("There is no book yet: make book")
    for free in range(port, port + 20):
        try:
            server = ThreadingHTTPServer(
                ("127.0.0.1", free), partial(Quiet, directory=str(folder))
            )
            break
        except OSError:
            continue
    else:
        raise SystemExit(
            f"No free port from {port} to {port + 19}: choose another with --port"
        )
    print(f"The book is at http://127.0.0.1:{free}/ (Ctrl-C stops it)", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()


if __name__ == "__main__":
    main()
