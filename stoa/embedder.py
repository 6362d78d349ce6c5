"""Whoever turns sentences into vectors, in words that belong to no library."""

from collections.abc import Sequence
from typing import Protocol

__all__ = ["Embedder"]


class Embedder(Protocol):
    """Sentences in, vectors of length 1 out, so that their dot product is the cosine of the angle between them.

    `name` and `dimension` belong beside every vector that is kept: those of different embedders cannot be compared.
    """

    @property
    def name(self) -> str: ...

    @property
    def dimension(self) -> int: ...

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """One vector for each text, in their order. Takes processor time (milliseconds each): call it in a thread."""
        ...
