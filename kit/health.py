"""`/health` for everybody, `/metrics` for those who may read them."""

from collections.abc import Mapping

from kit.author import Server

__all__ = ["METRICS_SCOPE", "health"]

METRICS_SCOPE = "metrics:read"

TRANSPORTS = ("http", "ws")


def health(servers: Mapping[str, Server], *, at_root: bool) -> dict[str, object]:
    """What is served here. It says that the process answers, not that everything behind it does."""
    about = {
        name: {"name": server.name, "version": server.version, "transports": list(TRANSPORTS)}
        for name, server in servers.items()
    }
    if at_root:
        return {"status": "ok", **next(iter(about.values()))}
    return {"status": "ok", "servers": about}
