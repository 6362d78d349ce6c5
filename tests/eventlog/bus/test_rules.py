"""The pure parts of the bus: subjects that no tenant can forge, routes, what was seen, how an event travels."""

from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventlog.bus.message import MAX_BODY_BYTES, Message, decode, encode
from eventlog.bus.open import shown
from eventlog.bus.routing import Routing, Rule
from eventlog.bus.seen import Seen
from eventlog.bus.subjects import Interest, matches, subject_of, tenant_of, tenant_token
from eventlog.event import Event, StreamId
from stoa.errors import BadInput
from tests.eventlog.bus.messages import id_of, message

TENANTS = st.text(
    st.characters(exclude_categories=("C", "Z")) | st.sampled_from(" .*>_/%-\u00e9"), min_size=1, max_size=100
).filter(str.isprintable)


def event(
    type: str = "order.placed",
    *,
    tenant: str = "acme",
    stream: str = "order-1",
    data: bytes | None = b"{}",
    is_personal: bool = False,
) -> Event:
    return Event(
        7,
        StreamId(tenant, stream),
        1,
        type,
        1,
        id_of(7),
        data,
        b'{"correlation_id":"run-1"}',
        0,
        0,
        bytes(32),
        is_personal=is_personal,
    )


@given(TENANTS)
@example("acme.order")
@example("*")
@example(">")
@example("_2a")
@example("ünïcode")
def test_a_tenant_is_one_token_without_wildcards_and_is_read_back(tenant: str) -> None:
    subject = subject_of("events", tenant, "order.placed")
    assert subject.count(".") == 3
    assert not set(subject) & set("*> \t\r\n")
    assert tenant_of(subject) == tenant


@given(TENANTS, TENANTS)
@example("a", "A")
@example("a.b", "a_2eb")
def test_no_tenant_hears_another(one: str, other: str) -> None:
    subject = subject_of("events", other, "order.placed")
    for wanted in (Interest(tenant=one), Interest(tenant=one, types=("order.*",))):
        assert wanted.wants(subject) is (one == other)


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "events",
        "events.acme",
        "events.acme.order",
        "events.acme.Order.placed",
        "Events.acme.order.placed",
        "events.ac me.order.placed",
        "events._61cme.order.placed",  # "a" is not spelt so
        "events._zz.order.placed",
        "events._ff.order.placed",  # no UTF-8
        f"events.{'a' * 101}.order.placed",
    ],
)
def test_what_is_no_subject_of_ours_is_refused(subject: str) -> None:
    with pytest.raises(BadInput):
        tenant_of(subject)


@pytest.mark.parametrize(
    ("pattern", "subject", "does"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.b.c", False),
        ("a.b.c", "a.b", False),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        ("*.b", "a.b", True),
        ("a.>", "a.*", True),
        ("a.*", "a.>", False),
        ("a.>", "a.>", True),
    ],
)
def test_patterns_match_as_those_of_nats_do(pattern: str, subject: str, does: bool) -> None:
    assert matches(pattern, subject) is does


def test_filters_that_cover_each_other_become_one() -> None:
    assert Interest(tenant="a b", types=("order.placed", "order.*", "order.line.*", "invoice.paid")).patterns() == (
        "events.a_20b.order.>",
        "events.a_20b.invoice.paid",
    )
    assert Interest().patterns() == ("events.*.>",)


@pytest.mark.parametrize("type", ["", "*", ">", "order", "order.>", "Order.placed", "order.*.x", "order.pl*", ".*"])
def test_types_that_cannot_be_subscribed_to_are_refused(type: str) -> None:
    with pytest.raises(BadInput):
        Interest(types=(type,))


@pytest.mark.parametrize("channel", ["", "Events", "a.b", "*", "a-b", "x" * 41])
def test_channels_have_plain_names(channel: str) -> None:
    with pytest.raises(BadInput):
        Rule(channel)


def test_an_event_goes_to_the_channel_of_every_rule_that_takes_it() -> None:
    routing = Routing(
        (
            Rule(),
            Rule("sales", ("order.*", "invoice.paid")),
            Rule("acme_only", tenant="acme"),
            Rule("big", stream_prefix="order-9"),
            Rule("sales", ("order.placed",)),
        )
    )
    assert routing.channels == ("events", "sales", "acme_only", "big")
    assert routing.channels_of(event()) == ("events", "sales", "acme_only")
    assert routing.channels_of(event(tenant="other", stream="order-9x")) == ("events", "sales", "big")
    assert routing.channels_of(event("invoice.sent")) == ("events", "acme_only")
    assert routing.types == ()
    assert Routing((Rule(types=("a.*", "b.c")), Rule("x", ("b.c",)))).types == ("a.*", "b.c")


def test_what_the_bus_tells_itself_is_routed_only_by_name() -> None:
    assert Routing().channels_of(event("bus.dead_lettered")) == ()
    assert Routing((Rule(types=("bus.*",)),)).channels_of(event("bus.dead_lettered")) == ("events",)


def test_what_was_seen_is_forgotten_by_age_and_by_number() -> None:
    seen = Seen(window_seconds=10, max_ids=3)
    for number, at in enumerate((0.0, 1.0, 2.0)):
        seen.add(str(number), at)
    assert [seen.has(str(number), 10.5) for number in range(3)] == [False, True, True]
    seen.add("1", 10.6)  # once more: it stays longer
    for name in "ab":
        seen.add(name, 10.7)
    assert [seen.has(name, 10.8) for name in "12ab"] == [True, False, True, True]
    assert len(seen) == 3
    assert not any(seen.has(name, 99.0) for name in "12ab")
    assert len(seen) == 0


def test_an_event_arrives_as_it_is() -> None:
    sent = Message.of(event(data=b'{"total": 7}'))
    got = decode("events", subject_of("events", "acme", "order.placed"), encode(sent))
    assert got == sent
    assert (got.data, got.metadata) == ({"total": 7}, {"correlation_id": "run-1"})
    assert got.recorded_at == datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "hidden",
    [
        event(data=b'{"name": "Ada"}', is_personal=True),
        event(data=None),
        event(data=orjson.dumps({"text": "x" * MAX_BODY_BYTES})),
    ],
)
def test_what_is_about_a_person_erased_or_large_travels_without_its_data(hidden: Event) -> None:
    body = encode(Message.of(hidden))
    assert len(body) < 1000
    assert b"Ada" not in body
    assert decode("events", "events.acme.order.placed", body).data is None


@pytest.mark.parametrize(
    ("subject", "body"),
    [
        ("events.acme.order.placed", b""),
        ("events.acme.order.placed", b"{}"),
        ("events.acme.order.placed", b"\xff\xfe"),
        ("events.acme.order.placed", b"[" * 100_000),
        ("events.acme.order.placed", encode(message(1, tenant="other"))),
        ("events.acme.order.placed", encode(message(1, type="order.paid"))),
        ("other.acme.order.placed", encode(message(1))),
    ],
)
def test_a_message_that_is_none_or_of_another_is_refused(subject: str, body: bytes) -> None:
    with pytest.raises(BadInput):
        decode("events", subject, body)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nats://user:secret@broker:4222", "nats://broker:4222"),
        ("redis://:secret@[::1]:6379/0?password=secret", "redis://[::1]:6379"),
        ("unix:///run/redis.sock?password=secret", "unix:///run/redis.sock"),
        ("secret", "an address that cannot be read"),
        ("nats://user:secret@broker:port", "an address that cannot be read"),
        ("nats://secret/token@broker", "an address that cannot be read"),
        ("redis://:4222/secret@broker", "an address that cannot be read"),
        ("redis://user:4222?secret@broker", "an address that cannot be read"),
    ],
)
def test_an_address_is_told_without_its_secrets(url: str, said: str) -> None:
    assert shown(url) == said


def test_tokens_stay_short_enough_for_a_subject() -> None:
    assert len(tenant_token("\U0001f600" * 100)) == 1200
