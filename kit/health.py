"""`/health` for everybody, `/metrics` for those who may read them."""

from collections.abc import Mapping

from kit.served import Served

__all__ = ["METRICS_SCOPE", "health"]

METRICS_SCOPE = "metrics:read"

TRANSPORTS = ("http", "ws")


def health(servers: Mapping[str, Served], *, at_root: bool, front: Served | None = None) -> dict[str, object]:
    """What is served here. It says that the process answers, not that everything behind it does."""
    about = {name: _about(server) for name, server in servers.items()}
    if at_root:
        return {"status": "ok", **next(iter(about.values()))}
    if front is not None:
        return {"status": "ok", **_about(front), "servers": about}
    return {"status": "ok", "servers": about}


def _about(server: Served) -> dict[str, object]:
    return {"name": server.name, "version": server.version, "transports": list(TRANSPORTS)}
