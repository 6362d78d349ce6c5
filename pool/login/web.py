"""The HTTP client for authorization servers: bounded answers, bounded waits, and no address that a stranger could read
along with or that a stranger's server could send us to in our own machine."""

import ipaddress
import socket
from collections.abc import AsyncIterator
from typing import Final
from urllib.parse import urlsplit

import httpx2

__all__ = ["is_loopback", "may_ask", "web_client"]

MAX_ANSWER_BYTES: Final = 2**20
LOOPBACK: Final = 3
TIMEOUT: Final = httpx2.Timeout(connect=10, read=30, write=30, pool=10)


def may_ask(url: str, *, server: str) -> bool:
    """Whether a login to `server` may go to this address: https, or as near as the server itself.

    A server on this machine, or in a private net, may name others there; one that we talk to without TLS may name
    addresses of its own.
    """
    here, there = urlsplit(server), urlsplit(url)
    if _nearness(there.hostname or "") > _nearness(here.hostname or ""):
        return False
    if there.scheme == "https":
        return True
    is_same = there.hostname == here.hostname and here.scheme == "http"
    return there.scheme == "http" and (is_same or is_loopback(there.hostname or ""))


def is_loopback(host: str) -> bool:
    return _nearness(host) == LOOPBACK


def _nearness(host: str) -> int:
    """How far inside an address is: of everybody, of a private net, of this link (where clouds keep the keys of their
    machines), of this machine. A name counts as everybody's: nobody looks it up here."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return LOOPBACK
    address = _address(name)
    if address is None or address.is_global:
        return 0
    if address.is_loopback or address.is_unspecified:  # 0.0.0.0 leads to this machine, too
        return LOOPBACK
    return 2 if address.is_link_local else 1


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        try:
            return ipaddress.IPv4Address(socket.inet_aton(name))  # 127.1 and 0x7f000001, as the system reads them
        except (OSError, ValueError):
            return None
    inner = address.ipv4_mapped or address.sixtofour if isinstance(address, ipaddress.IPv6Address) else None
    return inner or address


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
