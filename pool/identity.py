"""Who calls: what servers of ours are told in `_meta`, and the keys that make them believe it.

Children that the pool starts get a key of their own, random for each run; other servers of ours share the configured
one. Servers that are not trusted get neither key nor assertion.
"""

import secrets
from dataclasses import replace
from typing import Any, Final, cast

from pool.passes import TOKEN_VARIABLE, UPSTREAM_VARIABLE, Passes
from pool.spec import GroupSpec, MemberSpec, StdioSpec
from stoa.clock import Clock
from stoa.principal import ASSERTION_SECONDS, Principal, sign_assertion
from stoa.wire import HOPS_KEY, PASS_KEY, PRINCIPAL_KEY

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

    def __init__(
        self, spec: GroupSpec, *, internal_key: bytes | None, clock: Clock, passes: Passes | None = None
    ) -> None:
        self._name = spec.name
        self._is_trusted = spec.trusted
        self._clock = clock
        self._passes = passes
        self._shared_key = internal_key
        self._child_key = secrets.token_urlsafe(32).encode()
        self._kept: dict[tuple[Principal, str, bytes], tuple[float, str]] = {}

    def __repr__(self) -> str:
        return f"<Identity {self._name} {'trusted' if self._is_trusted else 'not trusted'}>"

    def prepare(self, member: MemberSpec) -> MemberSpec:
        """The member, with the key and the way back that its child process needs."""
        if not self._is_trusted or not isinstance(member, StdioSpec):
            return member
        hidden = {KEY_VARIABLE: self._child_key.decode()}
        shown: dict[str, str] = {}
        if (passes := self._passes_for(member)) is not None:
            shown[UPSTREAM_VARIABLE] = passes.address
            hidden[TOKEN_VARIABLE] = passes.token(self._name)
        return replace(member, env={**member.env, **shown, **hidden}, secrets=(*member.secrets, *hidden.values()))

    def lend(self, member: MemberSpec, principal: Principal, *, hops: int) -> str | None:
        """A pass for one request, if a child of this member, as configured, has a way back; `take_back` ends it."""
        passes = self._passes_for(member)
        return None if passes is None else passes.give(self._name, principal, hops=hops)

    def take_back(self, lent: str | None) -> None:
        if lent is not None and self._passes is not None:
            self._passes.end(lent)

    def _passes_for(self, member: MemberSpec) -> Passes | None:
        if not self._is_trusted or not isinstance(member, StdioSpec):
            return None
        # Whoever writes another gateway into the configuration wants that one.
        return None if UPSTREAM_VARIABLE in member.env else self._passes

    def sign(
        self,
        params: dict[str, Any],
        member: MemberSpec,
        principal: Principal,
        *,
        server_name: str | None,
        hops: int,
        lent: str | None = None,
    ) -> dict[str, Any]:
        """The parameters with `_meta` as a server that is trusted gets it; for others they stay as they are."""
        meta = self.meta(member, principal, server_name=server_name, hops=hops)
        if lent is not None:
            meta[PASS_KEY] = lent
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
