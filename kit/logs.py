"""Logs: one compact line an event, on stderr only, because stdout belongs to the protocol."""

import logging
import sys

__all__ = ["configure"]

FORMAT = "%(asctime)s %(levelname).1s %(name)s: %(message)s"


def configure(level: str) -> None:
    """Called by whoever runs a process, never at import."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(FORMAT, datefmt="%H:%M:%S"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # FastMCP hangs a handler of its own (boxes, colours) on its logger at import.
    fastmcp = logging.getLogger("fastmcp")
    fastmcp.handlers.clear()
    fastmcp.propagate = True
    fastmcp.setLevel(logging.NOTSET)
