"""Who calls: what servers of ours are told in `_meta`, and the keys that make them believe it.

Children that the pool starts get a key of their own, random for each run; other servers of ours share the configured
one. Servers that are not trusted get neither key nor assertion.
"""

import secrets
from collections.abc import Mapping
from dataclasses import replace

from pydantic import JsonValue

from pool.spec import GroupSpec, MemberSpec, StdioSpec
from stoa.clock import Clock
from stoa.principal import Principal, sign_assertion
from stoa.wire import HOPS_KEY, PRINCIPAL_KEY

__all__ = ["Identity"]

KEY_VARIABLE = "STOA_INTERNAL_KEY"


class Identity:
    """For one group of servers."""

    def __init__(self, spec: GroupSpec, *, internal_key: bytes | None, clock: Clock) -> None:
        self._name = spec.name
        self._is_trusted = spec.trusted
        self._clock = clock
        self._shared_key = internal_key
        self._child_key = secrets.token_urlsafe(32)

    def __repr__(self) -> str:
        return f"<Identity {self._name} {'trusted' if self._is_trusted else 'not trusted'}>"

    def prepare(self, member: MemberSpec) -> MemberSpec:
        """The member, with the key that its child process needs."""
        if not self._is_trusted or not isinstance(member, StdioSpec):
            return member
        return replace(
            member,
            env={**member.env, KEY_VARIABLE: self._child_key},
            secrets=(*member.secrets, self._child_key),
        )

    def meta(
        self, member: MemberSpec, principal: Principal, *, server_name: str | None, hops: int
    ) -> Mapping[str, JsonValue]:
        """What goes into `_meta` of one request. `server_name` is the name the server gave itself: the audience."""
        if not self._is_trusted:
            return {}
        meta: dict[str, JsonValue] = {HOPS_KEY: hops}
        key = self._child_key.encode() if isinstance(member, StdioSpec) else self._shared_key
        if key is not None:
            meta[PRINCIPAL_KEY] = sign_assertion(
                principal, audience=server_name or self._name, key=key, now=self._clock.now().timestamp()
            )
        return meta
