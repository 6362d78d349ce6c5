"""Choosing a bus by its address: `nats://…` and `tls://…`, `redis://…`, `rediss://…` and `unix://…`; without one, the
bus is in process. The clients are imported by whoever needs one."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

from eventlog.bus.bus import Bus, Keeping
from eventlog.bus.in_process import InProcessBus
from eventlog.bus.relay import relay_projection
from eventlog.projections.projection import SinkProjection
from stoa.errors import BadInput
from stoa.settings import Settings

__all__ = ["open_bus", "open_relays", "shown"]

NATS: Final = frozenset({"nats", "tls"})
REDIS: Final = frozenset({"redis", "rediss", "unix"})


@asynccontextmanager
async def open_bus(settings: Settings, *, keeping: Keeping | None = None) -> AsyncGenerator[Bus]:
    """The bus of `STOA_BUS_URL`; a broker is reached when it is first needed. Raises `BadInput` for an address of
    another kind, and where the client is not installed."""
    if settings.bus_url is None:
        yield InProcessBus(keeping=keeping)
        return
    url = settings.bus_url.get_secret_value()
    scheme, where = url.partition("://")[0], shown(url)
    if scheme in NATS:
        try:
            from eventlog.bus.jetstream import JetStreamBus
        except ImportError as error:
            raise _missing("nats-py", where) from error
        bus = JetStreamBus(url, shown=where, keeping=keeping)
    elif scheme in REDIS:
        try:
            from eventlog.bus.redis_streams import RedisBus
        except ImportError as error:
            raise _missing("redis", where) from error
        try:
            bus = RedisBus(url, shown=where, keeping=keeping)
        except ValueError:
            raise _unusable(where) from None
    else:
        raise _unusable(where)
    try:
        yield bus
    finally:
        await bus.close()


@asynccontextmanager
async def open_relays(settings: Settings) -> AsyncGenerator[Sequence[SinkProjection]]:
    """For whoever keeps projections: the relay to the broker of `STOA_BUS_URL`, and nothing where there is none."""
    if settings.bus_url is None:
        yield ()
        return
    async with open_bus(settings) as bus:
        yield (relay_projection(bus),)


def shown(url: str) -> str:
    """An address as it may be said: without user, password and query."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", f":{parts.port}" if parts.port else ""
    except ValueError:
        return "an address that cannot be read"
    if "@" in f"{parts.path}{parts.query}{parts.fragment}":  # then what was taken for the host is of a password
        return "an address that cannot be read"
    host = f"[{host}]" if ":" in host else host
    path = parts.path if parts.scheme == "unix" else ""
    return f"{parts.scheme}://{host}{port}{path}" if parts.scheme else "an address that cannot be read"


def _unusable(where: str) -> BadInput:
    return BadInput(
        f"STOA_BUS_URL cannot be used: {where}.",
        hint="Give nats://host:4222 or redis://host:6379/0, or leave it unset: the bus is then within the process.",
    )


def _missing(package: str, where: str) -> BadInput:
    return BadInput(f"For {where} the package {package} is needed.", hint="pip install 'stoa-mcp[bus]'")
