"""Gateways behind gateways: what has come through this one already is not offered by it again. Pure.

Two gateways that stand in front of each other would list each other's lists without end. So what is listed for another
gateway says which ones it has come through.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast

from pool.offer import Offer
from stoa.wire import MAX_HOPS

__all__ = ["GATEWAY_NAME", "THROUGH_KEY", "marked", "without_circles"]

GATEWAY_NAME: Final = "stoa"
"""What every gateway calls itself, as a server and as a client."""

THROUGH_KEY: Final = "io.stoa/through"
"""In `_meta` of what is listed: the gateways that it has come through, the one that is farthest away first."""

Raw = Mapping[str, Any]


def marked(entries: Iterable[Raw], me: str) -> list[dict[str, Any]]:
    """A list for another gateway."""
    return [{**entry, "_meta": {**_meta(entry), THROUGH_KEY: [*_through(entry), me]}} for entry in entries]


def without_circles(offer: Offer, me: str) -> Offer:
    """What a gateway offers without what has come through this one, or through too many to be called."""
    if offer.server_name != GATEWAY_NAME:
        return offer
    return replace(
        offer,
        tools=tuple(tool for tool in offer.tools if _may_pass(tool.wire, me)),
        prompts=tuple(_passing(offer.prompts, me)),
        resources=tuple(_passing(offer.resources, me)),
        templates=tuple(_passing(offer.templates, me)),
    )


def _passing(entries: Iterable[Raw], me: str) -> Iterator[Raw]:
    return (entry for entry in entries if _may_pass(entry, me))


def _may_pass(entry: Raw, me: str) -> bool:
    through = _through(entry)
    return me not in through and len(through) <= MAX_HOPS


def _meta(entry: Raw) -> Raw:
    meta = entry.get("_meta")
    return cast("Raw", meta) if isinstance(meta, dict) else {}


def _through(entry: Raw) -> Sequence[object]:
    through = _meta(entry).get(THROUGH_KEY)
    return cast("list[object]", through) if isinstance(through, list) else []
