"""Who calls: what servers of ours are told in `_meta`, and the keys that make them believe it.

Children that the pool starts get a key of their own, random for each run; other servers of ours share the configured
one. Servers that are not trusted get neither key nor assertion.
"""

import secrets
from dataclasses import replace
from typing import Any, Final, cast

from pool.spec import GroupSpec, MemberSpec, StdioSpec
from stoa.clock import Clock
from stoa.principal import ASSERTION_SECONDS, Principal, sign_assertion
from stoa.wire import HOPS_KEY, PRINCIPAL_KEY

__all__ = ["Identity", "without_ours"]

KEY_VARIABLE = "STOA_INTERNAL_KEY"
OURS: Final = "io.stoa/"
KEEP_SECONDS: Final = ASSERTION_SECONDS // 2
"""A signed assertion is used again for so long; signing costs more than the rest of a call's bookkeeping."""
MAX_KEPT: Final = 1024


def without_ours(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters without what only we may say: nobody outside gets to claim who calls."""
    meta = params.get("_meta")
    if not isinstance(meta, dict) or not any(key.startswith(OURS) for key in cast("dict[str, Any]", meta)):
        return params
    kept = {key: value for key, value in cast("dict[str, Any]", meta).items() if not key.startswith(OURS)}
    return {**params, "_meta": kept}


class Identity:
    """For one group of servers."""

    def __init__(self, spec: GroupSpec, *, internal_key: bytes | None, clock: Clock) -> None:
        self._name = spec.name
        self._is_trusted = spec.trusted
        self._clock = clock
        self._shared_key = internal_key
        self._child_key = secrets.token_urlsafe(32).encode()
        self._kept: dict[tuple[Principal, str, bytes], tuple[float, str]] = {}

    def __repr__(self) -> str:
        return f"<Identity {self._name} {'trusted' if self._is_trusted else 'not trusted'}>"

    def prepare(self, member: MemberSpec) -> MemberSpec:
        """The member, with the key that its child process needs."""
        if not self._is_trusted or not isinstance(member, StdioSpec):
            return member
        return replace(
            member,
            env={**member.env, KEY_VARIABLE: self._child_key.decode()},
            secrets=(*member.secrets, self._child_key.decode()),
        )

    def sign(
        self, params: dict[str, Any], member: MemberSpec, principal: Principal, *, server_name: str | None, hops: int
    ) -> dict[str, Any]:
        """The parameters with `_meta` as a server that is trusted gets it; for others they stay as they are."""
        meta = self.meta(member, principal, server_name=server_name, hops=hops)
        return {**params, "_meta": {**params.get("_meta", {}), **meta}} if meta else params

    def meta(self, member: MemberSpec, principal: Principal, *, server_name: str | None, hops: int) -> dict[str, Any]:
        """What goes into `_meta` of one request. `server_name` is the name the server gave itself: the audience."""
        if not self._is_trusted:
            return {}
        key = self._child_key if isinstance(member, StdioSpec) else self._shared_key
        if key is None:
            return {HOPS_KEY: hops}
        return {
            HOPS_KEY: hops,
            PRINCIPAL_KEY: self._assertion(principal, audience=server_name or self._name, key=key),
        }

    def _assertion(self, principal: Principal, *, audience: str, key: bytes) -> str:
        now = self._clock.now().timestamp()
        kept = self._kept.get((principal, audience, key))
        # Also when the time of day was set back: an assertion from the future is refused.
        if kept is not None and 0 <= now - kept[0] < KEEP_SECONDS:
            return kept[1]
        if len(self._kept) >= MAX_KEPT:
            self._kept.clear()
        assertion = sign_assertion(principal, audience=audience, key=key, now=now)
        self._kept[principal, audience, key] = now, assertion
        return assertion
