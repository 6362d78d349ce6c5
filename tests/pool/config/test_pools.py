"""`stoa.pools`: every key arrives where it is used, and what is wrong is named as it was written."""

import json
from collections.abc import Mapping
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.balance.policy import ALIASES, STRATEGIES, BalancePolicy
from pool.config.mcp_json import parse_config
from pool.config.pools import SECTIONS, SHORT, PoolSection
from pool.spec import GroupSpec, HttpSpec, LoginSpec, StdioSpec
from stoa.errors import BadInput

SERVERS = {"a": {"command": "x"}, "b": {"url": "http://h/mcp"}, "c": {"command": "z"}}


def parse(pools: object, environ: Mapping[str, str] | None = None, **others: object) -> dict[str, GroupSpec]:
    text = json.dumps({"mcpServers": SERVERS, "stoa": {"pools": pools, **others}})
    return {group.name: group for group in parse_config(text, source="mcp.json", environ=environ or {})}


def refused(pools: object, logins: object | None = None) -> str:
    with pytest.raises(BadInput) as caught:
        parse(pools, logins=logins or {})
    return str(caught.value)


def test_without_a_pool_the_defaults_of_the_values_hold() -> None:
    """The documented defaults, those of the description and those of the policies are one."""
    assert parse({})["a"] == GroupSpec("a", (StdioSpec("x"),))
    assert parse({"a": {}})["a"].policy == BalancePolicy()


def test_every_key_arrives() -> None:
    given = {
        "replicas": 2,
        "max_in_flight": 3,
        "max_waiting": 4,
        "acquire_timeout_seconds": 5,
        "call_timeout_seconds": 6.5,
        "start_timeout_seconds": 7,
        "stop_grace_seconds": 8,
        "trusted": True,
        "idle_timeout_seconds": 9,
        "max_age_seconds": 10,
        "max_calls": 11,
        "max_memory_mb": 12.5,
        "spares": 1,
        "probe_interval_seconds": 13,
        "probe_timeout_seconds": 14,
        "affinity": "none",
    }
    group = parse({"a": given})["a"]
    assert {name: getattr(group, name) for name in given} == given


def test_every_knob_of_the_policy_arrives() -> None:
    own = {"strategy": "p2c", "slow_start_seconds": 1, "decay_seconds": 2, "failure_penalty_seconds": 3}
    sections: dict[str, dict[str, object]] = {
        "retry": {"attempts": 4, "budget_share": 0.3, "budget_floor_per_second": 5},
        "hedge": {"on": False, "quantile": 0.9, "budget_share": 0.2, "min_calls": 7},
        "ejection": {
            "on": False,
            "consecutive_failures": 8,
            "success_rate": 0.25,
            "min_calls": 9,
            "window_seconds": 10,
            "base_seconds": 11,
            "max_seconds": 12,
            "max_share": 0.75,
            "panic_share": 0.1,
            "probe_failures": 3,
            "probe_successes": 4,
        },
    }
    policy = parse({"a": {**own, **sections}})["a"].policy
    assert {name: getattr(policy, name) for name in own} == own
    for name, written in sections.items():
        part = getattr(policy, name)
        assert {key: getattr(part, "is_on" if key == "on" else key) for key in written} == written
        assert set(written) == set(SECTIONS[name].model_fields)


def test_weights_and_tiers_are_the_members_own() -> None:
    group = parse({"k": {"members": ["c", "b", "a"], "weights": {"b": 2.5}, "tiers": {"a": 1}}})["k"]
    assert [group.weight(number) for number in range(3)] == [1.0, 2.5, 1.0]
    assert [group.tier(number) for number in range(3)] == [0, 0, 1]


@pytest.mark.parametrize("strategy", [*STRATEGIES, *ALIASES])
def test_every_strategy_can_be_named(strategy: str) -> None:
    assert parse({"a": {"strategy": strategy}})["a"].policy.strategy == ALIASES.get(strategy, strategy)


@pytest.mark.parametrize(
    ("written", "meant"),
    [("LeastConnections", "least_connections"), ("round-robin", "round_robin"), ("HealthBased", "least_latency")],
)
def test_a_strategy_may_be_spelled_as_others_do(written: str, meant: str) -> None:
    assert parse({"a": {"strategy": written}})["a"].policy.strategy == meant


def test_times_may_be_written_without_their_unit() -> None:
    assert {"call_timeout", "idle_timeout", "max_age", "acquire_timeout"} <= set(SHORT)
    group = parse({"a": {"call_timeout": 1, "idle_timeout": 2, "max_age": 3, "probe_interval": 4}})["a"]
    assert (group.call_timeout_seconds, group.idle_timeout_seconds) == (1, 2)
    assert (group.max_age_seconds, group.probe_interval_seconds) == (3, 4)
    assert "stoa.pools.a.call_timeout: " in refused({"a": {"call_timeout": "1"}})
    assert "mean the same" in refused({"a": {"call_timeout": 1, "call_timeout_seconds": 1}})


def test_a_section_is_switched_with_one_word() -> None:
    policy = parse({"a": {"retry": False, "hedge": False, "ejection": False}})["a"].policy
    assert (policy.retry.attempts, policy.hedge.is_on, policy.ejection.is_on) == (1, False, False)
    assert parse({"a": {"retry": True, "hedge": True, "ejection": True}})["a"].policy == BalancePolicy()


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"weights": {"z": 1}}, ["a.weights.z", "no member"]),
        ({"weights": {"a": 0}}, ["a.weights.a", "0.001 to 1000", "found 0"]),
        ({"tiers": {"a": -1}}, ["a.tiers.a", "0 to 100", "found -1"]),
        ({"tiers": {"a": 10**400}}, ["a.tiers.a"]),
        ({"tiers": {"a": 1.5}}, ["a.tiers.a", "found 1.5"]),
        ({"weights": {"a": True}}, ["a.weights.a", "found true"]),
        ({"retry": {"atempts": 1}}, ["a.retry.atempts", "'attempts'"]),
        ({"retry": {"attempts": 0}}, ["a.retry.attempts", "found 0"]),
        ({"retry": 3}, ["a.retry", "found 3"]),
        ({"hedge": {"on": "yes"}}, ["a.hedge.on", 'found "yes"']),
        ({"ejection": {"max_share": 2}}, ["a.ejection.max_share", "found 2"]),
        ({"ejection": {"base_seconds": 60}}, ["a.ejection.base_seconds", "max_seconds"]),
        ({"max_in_fligth": 1}, ["a.max_in_fligth", "'max_in_flight'"]),
        ({"strategy": "least_latncy"}, ["a.strategy", "'least_latency'"]),
        ({"affinity": "sticky"}, ["a.affinity", "'auto' or 'none'"]),
        ({"max_age_seconds": float("nan")}, ["a.max_age_seconds"]),
        ({"max_age_seconds": -1}, ["a.max_age_seconds", "found -1"]),
        ({"spares": 65}, ["a.spares", "found 65"]),
        ([], ["stoa.pools.a", "not []"]),
        ({"members": ["a", "a"]}, ["a.members", "once"]),
    ],
)
def test_what_is_wrong_is_named(section: object, told: list[str]) -> None:
    said = refused({"a": section})
    assert said.startswith("mcp.json: stoa.pools.a")
    for words in told:
        assert words in said


def login(section: object, environ: Mapping[str, str] | None = None, server: str = "b") -> LoginSpec:
    (member,) = parse({}, environ, logins={server: section})[server].members
    assert isinstance(member, HttpSpec)
    return member.login


def test_a_login_is_part_of_its_server() -> None:
    assert login({}) == LoginSpec()
    section = {
        "client_id": "us",
        "client_secret": "${SECRET}",
        "issuer": "https://issuer.example",
        "grant": "client_credentials",
        "scope": "read write",
    }
    found = login(section, {"SECRET": "hunter2-secret"})
    assert found == LoginSpec(
        client_id="us",
        client_secret="hunter2-secret",
        issuer="https://issuer.example",
        scope="read write",
        is_machine=True,
    )
    group = parse({}, {"SECRET": "hunter2-secret"}, logins={"b": section})["b"]
    assert "hunter2" not in f"{group!r} {found!r} {group.members[0]}"


@pytest.mark.parametrize(
    ("server", "section", "told"),
    [
        ("z", {}, ["stoa.logins.z", "no server"]),
        ("a", {}, ["stoa.logins.a", "http and sse"]),
        ("b", {"client": "x"}, ["stoa.logins.b.client", "'client_id'"]),
        ("b", {"client_secret": "s"}, ["stoa.logins.b.client_id", "missing"]),
        ("b", {"client_secret": "s", "client_id": "i"}, ["stoa.logins.b.issuer", "missing"]),
        ("b", {"grant": "client_credentials"}, ["b.client_id", "client_credentials needs it"]),
        ("b", {"client_id": "${NONE}"}, ["b.client_id", "NONE is not set"]),
        ("b", {"issuer": "ftp://h"}, ["b.issuer", "http://"]),
        ("b", {"client_metadata_url": "http://h/x"}, ["b.client_metadata_url", "https://"]),
        ("b", {"redirect_port": 70000}, ["b.redirect_port", "found 70000"]),
        ("b", [], ["stoa.logins.b", "not []"]),
    ],
)
def test_what_is_wrong_with_a_login_is_named(server: str, section: object, told: list[str]) -> None:
    said = refused({}, logins={server: section})
    for words in told:
        assert words in said


def test_a_wrong_secret_is_not_quoted() -> None:
    assert "hunter2" not in refused({}, logins={"b": {"client_secret": ["hunter2"]}})


KEYS = st.sampled_from([*PoolSection.model_fields, *SHORT, "on", "x"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "on", "attempts", "q"]), inner),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["a", "b", "k"]), st.dictionaries(KEYS, VALUES, max_size=4) | VALUES))
def test_whatever_stands_there_is_taken_or_refused_as_bad_input(pools: object) -> None:
    with suppress(BadInput):
        assert parse(pools)


@given(st.dictionaries(st.sampled_from(["pools", "logins", "x"]), VALUES))
def test_whatever_our_section_holds_is_taken_or_refused_as_bad_input(ours: object) -> None:
    with suppress(BadInput):
        assert parse_config(json.dumps({"mcpServers": SERVERS, "stoa": ours}), source="mcp.json", environ={})
