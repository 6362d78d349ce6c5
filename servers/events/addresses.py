"""`events://stream/order-1001` and its siblings: which address is about what. Pure."""

from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import quote, unquote

from eventlog.event import Event, StreamId
from eventlog.names import check_stream, is_type, shown
from stoa.errors import BadInput

__all__ = ["PROJECTION_URI", "STREAM_URI", "TYPE_URI", "Kind", "Topic", "address_of", "topic_of", "topics_of"]

STREAM_URI: Final = "events://stream/{id}"
PROJECTION_URI: Final = "events://projection/{name}"
TYPE_URI: Final = "events://type/{name}"

SCHEME: Final = "events://"
MAX_NAME: Final = 300

Kind = Literal["stream", "projection", "type"]


@dataclass(frozen=True, slots=True)
class Topic:
    """What somebody wants to hear of: a stream of a tenant, its events of a type, its documents of a projection."""

    tenant: str
    kind: Kind
    name: str


def topic_of(uri: str, tenant: str) -> Topic | None:
    """None for an address that is none of ours. Raises `BadInput` for names that nothing can have."""
    kind, slash, rest = uri.removeprefix(SCHEME).partition("/")
    if not uri.startswith(SCHEME) or not slash or "/" in rest or kind not in ("stream", "projection", "type"):
        return None
    name = unquote(rest.partition("#")[0].partition("?")[0])
    if kind == "stream":
        check_stream(StreamId(tenant, name))
    elif kind == "type" and not is_type(name):
        raise BadInput(f"{shown(name)} is no event type.", hint="Give one as events carry it, e.g. order.placed.")
    elif not 0 < len(name) <= MAX_NAME:
        raise BadInput(f"{shown(name)} is no name of a projection.", hint="Call list_projections for their names.")
    return Topic(tenant, kind, name)


def address_of(kind: Kind, name: str) -> str:
    return f"{SCHEME}{kind}/{quote(name, safe='')}"


def topics_of(event: Event) -> tuple[Topic, Topic]:
    """What an event is news of, besides the projections that read it."""
    return Topic(event.tenant, "stream", event.stream.name), Topic(event.tenant, "type", event.type)
