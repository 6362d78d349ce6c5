"""Principals and the note by which they cross a hop."""

import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stoa.errors import Denied
from stoa.principal import ASSERTION_SECONDS, LOCAL, Principal, sign_assertion, verify_assertion

KEY, NOW = b"k" * 32, 1_800_000_000.0
names = st.text(min_size=1, max_size=20)
principals = st.builds(
    Principal,
    subject=names,
    tenant=names,
    roles=st.frozensets(names, max_size=4),
    scopes=st.frozensets(names, max_size=4),
)


@pytest.mark.parametrize("granted", ["content:read", "content:*", "*"])
def test_a_scope_is_granted_by_itself_its_resource_and_everything(granted: str) -> None:
    assert Principal("ann", "acme", scopes=frozenset({granted})).allows("content:read")


@pytest.mark.parametrize(
    "granted", ["", "content", "content:", "content:write", "contents:*", ":*", "*:read", "**", "Content:Read"]
)
def test_nothing_else_grants_a_scope(granted: str) -> None:
    principal = Principal("ann", "acme", scopes=frozenset({granted}))
    assert not principal.allows("content:read")
    with pytest.raises(Denied, match="content:read"):
        principal.require("content:read")


def test_the_local_person_may_do_everything_in_the_default_tenant() -> None:
    LOCAL.require("anything:at-all")
    assert LOCAL.tenant == "default"


@given(principals, names)
def test_a_principal_crosses_a_hop_unchanged(principal: Principal, server: str) -> None:
    assertion = sign_assertion(principal, audience=server, key=KEY, now=NOW)
    assert verify_assertion(assertion, audiences=("other", server), key=KEY, now=NOW) == principal


@given(principals, st.data())
def test_no_changed_letter_of_an_assertion_goes_unseen(principal: Principal, data: st.DataObject) -> None:
    assertion = sign_assertion(principal, audience="content", key=KEY, now=NOW)
    body, _, mac = assertion.partition(".")
    # The last letter of the signature has two bits that mean nothing.
    at = data.draw(st.integers(0, len(body) + len(mac) - 1))
    letter = data.draw(st.sampled_from(string.ascii_letters + string.digits + "-_.=é \n"))
    assume(assertion[at] != letter)
    with pytest.raises(Denied):
        verify_assertion(assertion[:at] + letter + assertion[at + 1 :], audiences=("content",), key=KEY, now=NOW)


@given(st.text() | st.text(alphabet=string.ascii_letters + string.digits + "-_.=", max_size=200))
def test_made_up_assertions_are_denied(assertion: str) -> None:
    with pytest.raises(Denied):
        verify_assertion(assertion, audiences=("content",), key=KEY, now=NOW)


def test_an_assertion_is_for_one_server_and_for_a_minute() -> None:
    assertion = sign_assertion(LOCAL, audience="content", key=KEY, now=NOW)
    with pytest.raises(Denied, match="content"):
        verify_assertion(assertion, audiences=("knowledge",), key=KEY, now=NOW)
    verify_assertion(assertion, audiences=("content",), key=KEY, now=NOW + ASSERTION_SECONDS)
    with pytest.raises(Denied, match="expired"):
        verify_assertion(assertion, audiences=("content",), key=KEY, now=NOW + ASSERTION_SECONDS + 1)


def test_an_assertion_from_a_clock_far_ahead_is_denied() -> None:
    assertion = sign_assertion(LOCAL, audience="content", key=KEY, now=NOW + 3600)
    with pytest.raises(Denied, match="expired"):
        verify_assertion(assertion, audiences=("content",), key=KEY, now=NOW)


def test_an_assertion_by_another_key_is_denied_with_a_remedy() -> None:
    assertion = sign_assertion(LOCAL, audience="content", key=b"l" * 32, now=NOW)
    with pytest.raises(Denied, match="STOA_INTERNAL_KEY"):
        verify_assertion(assertion, audiences=("content",), key=KEY, now=NOW)
