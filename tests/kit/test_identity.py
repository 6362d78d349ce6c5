"""Whose request it is: assertion before token before the local person, and never more than was proven."""

import base64
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from kit.identity import MAX_ASSERTION_CHARACTERS, Door, identify, internal_key, read_hops
from stoa.errors import BadInput, Denied
from stoa.principal import ASSERTION_SECONDS, LOCAL, Principal, sign_assertion
from stoa.settings import Settings
from stoa.wire import HOPS_KEY, MAX_HOPS, PRINCIPAL_KEY

KEY = b"k" * 32
NOW = 1_800_000_000.0
ANN = Principal("ann", "acme", scopes=frozenset({"content:read"}))
BOB = Principal("bob", "globex")
STDIO = Door(is_local=True)
SHUT = Door()


def asserted(principal: Principal = ANN, *, audience: str = "content", key: bytes = KEY, now: float = NOW) -> str:
    return sign_assertion(principal, audience=audience, key=key, now=now)


def who(assertion: object, door: Door, *, key: bytes | None = KEY, now: float = NOW) -> Principal:
    return identify({PRINCIPAL_KEY: assertion}, door, audiences=("content",), key=key, now=now)


def test_an_assertion_wins_over_token_and_local_person() -> None:
    assert who(asserted(), Door(bearer=BOB)) == ANN
    assert who(asserted(), STDIO) == ANN
    assert who(asserted(), SHUT) == ANN


def test_a_token_wins_over_the_local_person() -> None:
    assert identify({}, Door(bearer=BOB, is_local=True), audiences=("content",), key=KEY, now=NOW) == BOB


def test_without_anything_only_a_local_door_opens() -> None:
    assert identify(None, STDIO, audiences=("content",), key=KEY, now=NOW) == LOCAL
    with pytest.raises(Denied, match="who calls"):
        identify(None, SHUT, audiences=("content",), key=KEY, now=NOW)


@pytest.mark.parametrize("door", [STDIO, Door(bearer=BOB)], ids=["local", "bearer"])
def test_an_assertion_from_outside_counts_for_nothing_where_no_key_is_set(door: Door) -> None:
    assert who(asserted(), door, key=None) == (door.bearer or LOCAL)
    assert who({"sub": "root", "tenant": "acme"}, door, key=None) == (door.bearer or LOCAL)


def altered(change: Callable[[dict[str, object]], None]) -> str:
    """An assertion whose claims were changed after it was signed."""
    body, _, mac = asserted().partition(".")
    claims: dict[str, object] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    change(claims)
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode() + "." + mac


@pytest.mark.parametrize(
    "assertion",
    [
        asserted(key=b"l" * 32),
        asserted(audience="knowledge"),
        asserted(now=NOW - ASSERTION_SECONDS - 1),
        asserted(now=NOW + 2 * ASSERTION_SECONDS),
        altered(lambda claims: claims.update(tenant="globex")),
        altered(lambda claims: claims.update(scopes=["*"])),
        altered(lambda claims: claims.update(exp=int(NOW) + 10_000)),
        asserted().partition(".")[0] + ".",
        asserted().partition(".")[0],
        "." + asserted().partition(".")[2],
        "",
        "....",
        "é.é",
        "\ud800.\ud800",
        "A" * (MAX_ASSERTION_CHARACTERS + 1),
        None,
        17,
        ["a"],
        {"sub": "root"},
        True,
    ],
    ids=lambda assertion: repr(assertion)[:24],
)
@pytest.mark.parametrize("door", [STDIO, Door(bearer=BOB), SHUT], ids=["local", "bearer", "shut"])
def test_a_wrong_assertion_is_refused_and_never_falls_back(assertion: object, door: Door) -> None:
    with pytest.raises(Denied):
        who(assertion, door)


@given(st.text(max_size=300))
def test_nothing_made_up_is_an_assertion(assertion: str) -> None:
    with pytest.raises(Denied):
        who(assertion, STDIO)


@pytest.mark.parametrize("skew", [-ASSERTION_SECONDS, -30, 0, 30, ASSERTION_SECONDS])
def test_clocks_may_differ_by_as_long_as_an_assertion_lives(skew: float) -> None:
    assert who(asserted(now=NOW + skew), SHUT) == ANN


def test_an_assertion_does_not_outlive_its_expiry_however_often_it_was_used() -> None:
    assertion = asserted()
    assert who(assertion, SHUT) == who(assertion, SHUT) == ANN
    with pytest.raises(Denied, match="expired"):
        who(assertion, SHUT, now=NOW + ASSERTION_SECONDS + 1)


def test_names_in_any_script_cross_a_hop_unchanged() -> None:
    principal = Principal("änne 🏛", "株式会社", frozenset({"rôle"}), frozenset({"content:*"}))
    assert who(asserted(principal), SHUT) == principal


def test_a_refusal_does_not_repeat_the_assertion() -> None:
    assertion = asserted(key=b"l" * 32)
    with pytest.raises(Denied) as refusal:
        who(assertion, STDIO)
    assert assertion[:16] not in str(refusal.value)


@pytest.mark.parametrize("hops", range(MAX_HOPS + 1))
def test_hops_up_to_the_limit_are_read(hops: int) -> None:
    assert read_hops({HOPS_KEY: hops}) == hops


def test_a_request_that_says_nothing_comes_from_nowhere() -> None:
    assert read_hops(None) == read_hops({}) == 0


@pytest.mark.parametrize("hops", [-1, True, False, "1", 1.0, None, [], 1e99])
def test_hops_that_are_no_count_are_bad_input(hops: object) -> None:
    with pytest.raises(BadInput, match=r"io\.stoa/hops"):
        read_hops({HOPS_KEY: hops})


@pytest.mark.parametrize("hops", [MAX_HOPS + 1, 10**30])
def test_more_hops_than_the_limit_are_denied(hops: int) -> None:
    with pytest.raises(Denied, match="circle"):
        read_hops({HOPS_KEY: hops})


def test_a_short_internal_key_is_refused_and_not_shown(home: object) -> None:
    settings = Settings.model_validate({"home": "/h", "internal_key": SecretStr("hunter2")})
    with pytest.raises(BadInput, match="7 bytes") as refusal:
        internal_key(settings)
    assert "hunter2" not in str(refusal.value)
    assert internal_key(Settings.model_validate({"home": "/h"})) is None
    assert internal_key(settings.model_copy(update={"internal_key": SecretStr("k" * 32)})) == KEY
