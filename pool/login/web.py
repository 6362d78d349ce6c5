"""The HTTP client for authorization servers: bounded answers, bounded waits, and no address that a stranger could read
along with or that a stranger's server could send us to in our own machine."""

import ipaddress
from collections.abc import AsyncIterator
from typing import Final
from urllib.parse import urlsplit

import httpx2

__all__ = ["is_loopback", "may_ask", "web_client"]

MAX_ANSWER_BYTES: Final = 2**20
TIMEOUT: Final = httpx2.Timeout(connect=10, read=30, write=30, pool=10)


def may_ask(url: str, *, server: str) -> bool:
    """Whether a login to `server` may go to this address: https, or as near as the server itself.

    A server on this machine may name others on it; one that we talk to without TLS may name addresses of its own.
    """
    here, there = urlsplit(server), urlsplit(url)
    if is_loopback(there.hostname or "") and not is_loopback(here.hostname or ""):
        return False
    if there.scheme == "https":
        return True
    is_same = there.hostname == here.hostname and here.scheme == "http"
    return there.scheme == "http" and (is_same or is_loopback(there.hostname or ""))


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")


def web_client(server: str, *, auth: httpx2.Auth | None = None) -> httpx2.AsyncClient:
    """A client for one login to `server`. Redirects are refused."""

    async def check(request: httpx2.Request) -> None:
        if not may_ask(str(request.url), server=server):
            where = request.url.copy_with(userinfo=b"", query=None, fragment=None)
            raise httpx2.UnsupportedProtocol(f"{where} is no address that a login may go to", request=request)

    async def bound(response: httpx2.Response) -> None:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise httpx2.DecodingError("the answer is packed, which was not asked for", request=response.request)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _Bounded(response.stream)

    return httpx2.AsyncClient(
        auth=auth,
        timeout=TIMEOUT,
        follow_redirects=False,
        headers={"accept-encoding": "identity"},
        event_hooks={"request": [check], "response": [bound]},
    )


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        received = 0
        async for chunk in self._stream:
            received += len(chunk)
            if received > MAX_ANSWER_BYTES:
                raise httpx2.ReadError(f"the answer is larger than {MAX_ANSWER_BYTES >> 20} MiB")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
