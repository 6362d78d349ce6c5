"""Which rights a login has, and which a server asks for beyond them (RFC 6750 §3, SEP-2350). Pure."""

import re
from typing import Final

__all__ = ["union", "wanted_scope"]

MAX_SCOPE: Final = 4096


def wanted_scope(challenge: str) -> str:
    """The scope that a `WWW-Authenticate` header asks for because what there is does not suffice; empty when none."""
    if _parameter(challenge, "error") != "insufficient_scope":
        return ""
    scope = _parameter(challenge, "scope")
    return scope if len(scope) <= MAX_SCOPE and _SCOPE.fullmatch(scope) else ""


def union(granted: str | None, wanted: str) -> str:
    """Both, in this order: a login for one thing must not lose the rights for another."""
    return " ".join(dict.fromkeys([*(granted or "").split(), *wanted.split()]))


# What RFC 6749 §3.3 lets a scope consist of.
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+( +[\x21\x23-\x5b\x5d-\x7e]+)*")


def _parameter(challenge: str, name: str) -> str:
    found = re.search(rf'(?:^|[\s,]){name}=(?:"([^"]*)"|([^\s,]+))', challenge)
    return (found[1] or found[2] or "") if found else ""
