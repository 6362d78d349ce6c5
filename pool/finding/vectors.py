"""How alike vectors are: by numpy (of the `embeddings` extra) where it is installed, else in plain Python."""

from collections.abc import Sequence
from importlib import import_module
from operator import mul
from typing import Protocol, cast

__all__ = ["Matrix", "Vector", "matrix"]

Vector = Sequence[float]


class Matrix(Protocol):
    """Vectors of length 1, one for each tool."""

    def similarities(self, vector: Vector) -> list[float]:
        """The cosine of the angle to each of them."""
        ...


def matrix(vectors: Sequence[Vector]) -> Matrix:
    try:
        numpy = import_module("numpy")
    except ImportError:
        return _Plain(vectors)
    return _Fast(cast("_Array", numpy.array(vectors, dtype=numpy.float32)))


class _Array(Protocol):
    def __matmul__(self, other: Vector, /) -> "_Array": ...
    def tolist(self) -> list[float]: ...


class _Fast:
    def __init__(self, rows: _Array) -> None:
        self._rows = rows

    def similarities(self, vector: Vector) -> list[float]:
        return (self._rows @ vector).tolist()


class _Plain:
    def __init__(self, rows: Sequence[Vector]) -> None:
        self._rows = rows

    def similarities(self, vector: Vector) -> list[float]:
        return [sum(map(mul, row, vector)) for row in self._rows]
