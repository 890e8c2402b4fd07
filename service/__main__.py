"""Serve the versions of a folder: `python -m service` from the repository's root."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvicorn

from service.app import create
from service.guard import LIMITS, Limits, Protocol


class Server(uvicorn.Server):
    """uvicorn's, which first tells the load balancer, then stops when the last answer is sent."""

    def __init__(self, config: uvicorn.Config, drain: float) -> None:
        super().__init__(config)
        self.drain, self.draining = drain, False

    def handle_exit(self, sig: int, frame: Any) -> None:
        """At the first signal wait `drain` seconds, still serving; at the second, stop now."""
        if self.draining or not self.started:
            return super().handle_exit(sig, frame)
        self.draining = self.config.app.state.draining = True  # type: ignore[union-attr]
        loop, stop = asyncio.get_running_loop(), super().handle_exit
        loop.call_soon_threadsafe(loop.call_later, self.drain, stop, sig, frame)


def stop_with_input() -> None:
    """Ask this process to stop when standard input ends: who held its other end is gone."""
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    option = parser.add_argument
    option("--models", type=Path, default=Path("_build/models"), help="the versions")
    option("--host", default="127.0.0.1", help="the address to listen on")
    option("--port", type=int, default=8000, help="0 chooses a free one")
    option("--refresh", type=float, default=2.0, help="seconds between looks")
    option("--drain", type=float, default=0.0, help="seconds from a signal to the stop")
    option("--seconds", type=float, default=LIMITS.seconds, help="for one request")
    option("--in-flight", type=int, default=LIMITS.in_flight, help="at a time")
    option("--attached", action="store_true", help="stop when standard input ends")
    options = parser.parse_args(arguments)
    if options.attached:
        threading.Thread(target=stop_with_input, daemon=True).start()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", force=True)
    logging.getLogger("service").setLevel(logging.INFO)
    limits = Limits(seconds=options.seconds, in_flight=options.in_flight)
    config = uvicorn.Config(
        create(options.models, limits, options.refresh),
        host=options.host,
        port=options.port,
        http=type("Timed", (Protocol,), {"seconds": options.seconds}),
        ws="none",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(limits.seconds) + 1,
    )
    Server(config, options.drain).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
