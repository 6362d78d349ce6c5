"""`stoa://servers`: which servers stand behind the gateway, and how each of them is."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from gateway.access import without_words
from gateway.offers import Offers
from pool.pool import Pool
from pool.status import GroupStats, ReplicaStats
from stoa.clock import Clock
from stoa.errors import StoaError, Unavailable

__all__ = ["SERVERS_URI", "ServersResource"]

SERVERS_URI: Final = "stoa://servers"

_LISTED: Final[dict[str, Any]] = {
    "uri": SERVERS_URI,
    "name": "servers",
    "title": "Servers behind this gateway",
    "description": "Each server with the state of its replicas, why one is down and since when, and how many tools "
    "it has.",
    "mimeType": "application/json",
}
_UP: Final = ("healthy", "degraded")


class ServersResource:
    """State: since when each replica is in its state, as far as this gateway has seen."""

    def __init__(self, pool: Pool, offers: Offers, *, clock: Clock) -> None:
        self._pool = pool
        self._offers = offers
        self._clock = clock
        self._since: dict[str, tuple[str, datetime]] = {}

    def __repr__(self) -> str:
        return f"<ServersResource: {len(self._since)} replicas>"

    def listed(self) -> list[dict[str, Any]]:
        return [_LISTED]

    def notice(self) -> None:
        """Look at who is in which state now; called when something has changed."""
        now = self._clock.now()
        seen = {replica.replica: replica.state for group in self._pool.stats().groups for replica in group.replicas}
        self._since = {
            name: known if (known := self._since.get(name)) is not None and known[0] == state else (state, now)
            for name, state in seen.items()
        }

    def read(self, servers: Iterable[str], *, sees_inside: bool = True) -> dict[str, Any]:
        """The result of resources/read, with the servers that the caller may use. What all callers do, and what
        processes have said, is for those who see inside."""
        self.notice()
        stats = self._pool.stats()
        found = [stats.group(server) for server in servers]
        about = {"servers": [self._group(group, sees_inside=sees_inside) for group in found if group is not None]}
        text = json.dumps(about, ensure_ascii=False, indent=1)
        return {"contents": [{"uri": SERVERS_URI, "mimeType": "application/json", "text": text}]}

    def why(self, server: str) -> StoaError:
        """Why nothing is known of a server that nobody could list."""
        group = self._pool.stats().group(server)
        reasons = [replica.reason for replica in group.replicas if replica.reason] if group is not None else []
        return Unavailable(
            f"The server {server!r} has not answered yet. {reasons[0] if reasons else ''}".strip(),
            hint=f"Read {SERVERS_URI} to see how it is, and try again.",
            retry_after=1.0,
        )

    def _group(self, group: GroupStats, *, sees_inside: bool) -> dict[str, Any]:
        offer = self._offers.view.offers.get(group.server)
        up = [replica for replica in group.replicas if replica.state in _UP]
        about: dict[str, Any] = {
            "server": group.server,
            "state": _state_of(group.replicas),
            "tools": len(offer.tools) if offer is not None else None,
        }
        if offer is not None:
            about["era"] = "2026-07-28" if offer.protocol in MODERN_PROTOCOL_VERSIONS else "2025-11-25"
            about["protocol"] = offer.protocol
            if offer.server_version:
                about["version"] = offer.server_version
        if not up and (reason := next((replica.reason for replica in group.replicas if replica.reason), "")):
            about["reason"] = reason if sees_inside else without_words(reason)
        if sees_inside:
            about |= {"in_flight": group.in_flight, "waiting": group.waiting}
        return {**about, "replicas": [self._replica(each, sees_inside=sees_inside) for each in group.replicas]}

    def _replica(self, replica: ReplicaStats, *, sees_inside: bool) -> Mapping[str, Any]:
        since = self._since.get(replica.replica)
        about: dict[str, Any] = {"replica": replica.replica, "state": replica.state}
        if replica.reason:
            about["reason"] = replica.reason if sees_inside else without_words(replica.reason)
        if since is not None:
            about["since"] = since[1].isoformat(timespec="seconds")
        if not sees_inside:
            return about
        return {**about, "calls": replica.calls, "failures": replica.failures, "in_flight": replica.in_flight}


def _state_of(replicas: Iterable[ReplicaStats]) -> str:
    """That of the best replica."""
    states = {replica.state for replica in replicas}
    return next((state for state in (*_UP, "starting", "ejected") if state in states), "stopped")
