"""How tenants, streams and event types may be called. Pure; what is refused is said with the name that was given."""

import re
from functools import lru_cache
from typing import Final

from eventlog.event import StreamId
from stoa.errors import BadInput

__all__ = [
    "MAX_STREAM_ID",
    "MAX_TENANT",
    "MAX_TYPE",
    "check_stream",
    "check_tenant",
    "check_type",
    "is_beginning",
    "is_type",
    "shown",
]

MAX_TENANT: Final = 100
MAX_TYPE: Final = 100
MAX_AGGREGATE_TYPE: Final = 60
MAX_STREAM_ID: Final = 200
"""Characters after the hyphen in a stream's name."""
MAX_SHOWN: Final = 80

_TYPE: Final = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)+")
# Spaces and / ? # % part the pieces of an address, or would have to be quoted in one.
_STREAM: Final = re.compile(rf"[a-z][a-z0-9_]{{0,{MAX_AGGREGATE_TYPE - 1}}}-[^ /?#%]{{1,{MAX_STREAM_ID}}}")


def check_tenant(tenant: object) -> str:
    if not isinstance(tenant, str) or not 0 < len(tenant) <= MAX_TENANT or not tenant.isprintable():
        raise BadInput(
            f"The tenant {shown(tenant)} cannot be used.",
            hint=f"Give 1 to {MAX_TENANT} printable characters.",
        )
    return tenant


def check_stream(stream: StreamId) -> StreamId:
    """Raises `BadInput` unless the tenant and the name can be used: `order-1001`, `document-01J8…`."""
    tenant, name = stream
    check_tenant(tenant)
    if isinstance(name, str) and _STREAM.fullmatch(name) and name.isprintable():  # pyright: ignore[reportUnnecessaryIsInstance] - from tools and files comes anything
        return stream
    raise BadInput(
        f"The stream name {shown(name)} cannot be used.",
        hint=f"Give the aggregate's type (lower case, a-z, 0-9, _; at most {MAX_AGGREGATE_TYPE}), a hyphen, and an id"
        f" of 1 to {MAX_STREAM_ID} printable characters without spaces and without / ? # %, for instance order-1001.",
    )


def is_beginning(prefix: str) -> bool:
    """Whether a name can begin so. Some of what cannot is no text to a database: half a character, or NUL."""
    return prefix.isprintable()


def is_type(type: object) -> bool:
    return isinstance(type, str) and len(type) <= MAX_TYPE and _is_type(type)


@lru_cache(maxsize=1024)
def _is_type(type: str) -> bool:
    """Remembered: a log has few types and very many events of them."""
    return _TYPE.fullmatch(type) is not None


def check_type(type: object) -> str:
    if not isinstance(type, str) or len(type) > MAX_TYPE or not _is_type(type):
        raise BadInput(
            f"The event type {shown(type)} cannot be used.",
            hint=f"Give words in lower case with dots between them, at most {MAX_TYPE} characters, for instance"
            " order.placed.",
        )
    return type


def shown(value: object) -> str:
    """A value of others in a message: quoted, and cut when it is long."""
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
