"""Addresses: which forms are taken, and that nothing of a password is ever shown."""

import pytest

from eventlog.postgres.address import Address
from stoa.errors import BadInput


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg"])
def test_the_usual_schemes_are_taken(scheme: str) -> None:
    address = Address.parse(f"{scheme}://stoa:s3cret@db.example.com:5433/events")
    assert address.dsn == "postgresql://stoa:s3cret@db.example.com:5433/events"
    assert str(address) == "'events' at db.example.com:5433"


def test_a_socket_is_named_by_its_folder() -> None:
    assert str(Address.parse("postgresql://stoa@/events?host=/run/postgresql")) == "'events' at /run/postgresql"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://stoa:s3cret@db/events",
        "postgresql://stoa@db/events?password=s3cret",
        "postgresql://stoa:s3cret%40x@db/events?sslmode=require",
    ],
)
def test_an_address_never_shows_its_password(url: str) -> None:
    address = Address.parse(url)
    assert "s3cret" not in f"{address!r} {address}"


@pytest.mark.parametrize(
    "url",
    [
        "mysql://stoa:s3cret@db/events",
        "s3cret",
        "postgresql://stoa:s3cret@x@db/events",
        "postgresql://stoa:s3cret#x@db/events",
        "postgresql://stoa:5432/s3cret@db/events",
        "postgresql://stoa:5432?s3cret=@db/events",
        "postgresql://stoa@db/events?password:s3cret",
        "postgresql://[s3cret/events",
    ],
)
def test_what_cannot_be_read_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(BadInput, match="STOA_DATABASE_URL") as caught:
        Address.parse(url)
    assert "s3cret" not in str(caught.value)


def test_an_address_may_say_itself_which_of_several_servers_will_do() -> None:
    assert Address.parse("postgresql://a,b/events").wants_primary
    assert not Address.parse("postgresql://a,b/events?target_session_attrs=any").wants_primary
