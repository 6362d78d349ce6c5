"""What all HTTP members of a pool share: one TLS context, the lean client, and the fuller one for who needs it."""

import ssl
from functools import cached_property
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2

from pool.wire.full_http import FullHttp
from pool.wire.lean_http import LeanHttp

__all__ = ["HttpPool", "needs_proxy"]


class HttpPool:
    """Made when first needed. `tls` is for tests and for authorities of one's own; by default the system's count."""

    def __init__(self, *, max_connections: int, tls: ssl.SSLContext | None = None) -> None:
        self._max_connections = max_connections
        self._given = tls

    def __repr__(self) -> str:
        return f"<HttpPool {self._max_connections} connections>"

    def resize(self, max_connections: int) -> None:
        """For so many calls at once from now on."""
        self._max_connections = max_connections
        if "lean" in self.__dict__:
            self.lean.resize(max_connections)

    @cached_property
    def tls(self) -> ssl.SSLContext:
        """The one context of the pool; each costs 21 ms of CPU."""
        return self._given or httpx2.create_ssl_context()

    @cached_property
    def lean(self) -> LeanHttp:
        return LeanHttp(max_connections=self._max_connections, tls=lambda: self.tls)

    @cached_property
    def full(self) -> FullHttp:
        return FullHttp(tls=lambda: self.tls)

    async def aclose(self) -> None:
        if "lean" in self.__dict__:
            self.lean.close()
        if "full" in self.__dict__:
            await self.full.aclose()


def needs_proxy(url: str) -> bool:
    """Whether the environment sends requests to this address through a proxy."""
    parts = urlsplit(url)
    proxies = getproxies()
    if not (proxies.get(parts.scheme) or proxies.get("all")):
        return False
    return not proxy_bypass(parts.netloc.rpartition("@")[2])
