"""Requests as the log hands them to a store."""

import os
from collections.abc import Sequence

from eventlog.chain import digest
from eventlog.event import ANY, Appended, StreamId
from eventlog.ids import ENTROPY_BYTES, new_ids
from eventlog.postgres.store import PostgresStore
from eventlog.store import Admitted, Outcome, Request
from stoa.errors import StoaError

__all__ = ["accepted", "one", "refused", "request"]

SALT = bytes(16)


def request(
    stream: str,
    count: int = 1,
    *,
    expected: int | None = ANY,
    tenant: str = "acme",
    type: str = "order.placed",
    data: bytes = b'{"total":12}',
) -> Request:
    entropy = os.urandom(ENTROPY_BYTES * count)
    events = [
        Admitted(id, type, 1, data, b"{}", SALT, digest(SALT, data, b"{}"), 1, "request-1")
        for id in new_ids(count, 0, entropy)
    ]
    return Request(StreamId(tenant, stream), events, expected)


async def one(store: PostgresStore, request: Request) -> Outcome:
    (outcome,) = await store.commit([request])
    return outcome


def accepted(outcomes: Sequence[Outcome]) -> Sequence[Appended]:
    appended = [outcome for outcome in outcomes if isinstance(outcome, Appended)]
    assert len(appended) == len(outcomes), outcomes
    return appended


def refused(outcome: Outcome) -> StoaError:
    assert isinstance(outcome, StoaError), outcome
    return outcome
