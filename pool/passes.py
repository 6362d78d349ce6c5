"""The way back: what a child of the pool needs to call tools of other servers, and for whom it may do so.

With each request a trusted child gets a pass, a random word that stands for that request. Whoever serves the way back
asks here what a pass stands for: the caller, and how many servers the call has come through, as the pool knows them.
Nothing of that is taken from the child, which holds its own key and could sign anything with it. A pass ends with its
request, and with it whatever was begun on it.
"""

import secrets
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import anyio

from stoa.principal import Principal

__all__ = ["TOKEN_VARIABLE", "UPSTREAM_VARIABLE", "Pass", "Passes"]

UPSTREAM_VARIABLE: Final = "STOA_UPSTREAM"
TOKEN_VARIABLE: Final = "STOA_UPSTREAM_TOKEN"  # noqa: S105 - the name of a variable


@dataclass(frozen=True, slots=True, eq=False)
class Pass:
    """A request that a child is serving. `hops` are those that it came with."""

    server: str
    principal: Principal
    hops: int
    works: set[anyio.CancelScope] = field(default_factory=set[anyio.CancelScope], repr=False)

    @contextmanager
    def working(self) -> Generator[anyio.CancelScope]:
        """Whatever is done on this pass; it is cancelled when the pass ends."""
        with anyio.CancelScope() as scope:
            self.works.add(scope)
            try:
                yield scope
            finally:
                self.works.discard(scope)


class Passes:
    """`address` is what children find in STOA_UPSTREAM. State: a token for each server, the requests in flight."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._tokens: dict[str, str] = {}
        self._server_of: dict[str, str] = {}
        self._given: dict[str, Pass] = {}

    def __repr__(self) -> str:
        return f"<Passes {self.address}: {len(self._tokens)} servers, {len(self._given)} requests>"

    def token(self, server: str) -> str:
        """By which a child shows that it is one. It is the server's own: another server's pass is of no use with it."""
        token = self._tokens.get(server)
        if token is None:
            token = self._tokens[server] = secrets.token_urlsafe(32)
            self._server_of[token] = server
        return token

    def give(self, server: str, principal: Principal, *, hops: int) -> str:
        word = secrets.token_urlsafe(16)
        self._given[word] = Pass(server, principal, hops)
        return word

    def end(self, word: str) -> None:
        ended = self._given.pop(word, None)
        for scope in ended.works if ended is not None else ():
            scope.cancel()

    def server_of(self, token: str) -> str | None:
        # Looked up and not compared: how long that takes tells nothing about 32 random bytes.
        return self._server_of.get(token)

    def find(self, token: str, word: str) -> Pass | None:
        """What the pass stands for, if it was given to the server with this token and has not ended."""
        found = self._given.get(word)
        return found if found is not None and found.server == self._server_of.get(token) else None
