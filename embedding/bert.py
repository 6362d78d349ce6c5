"""BERT's forward pass and mean pooling, in numpy. Pure.

Devlin, Chang, Lee and Toutanova, "BERT: Pre-training of Deep Bidirectional Transformers" (2019); sentences by the mean
of their words' vectors as Reimers and Gurevych have it (Sentence-BERT, 2019). Names of weights are those of Hugging
Face's `BertModel`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Bert"]

# Arrays are `Any`: numpy belongs to an extra, and types that are only sometimes there cannot be checked.
Array = Any

_ABSENT = -1e9
"""Added to the attention that padding would get, before the softmax."""


@dataclass(frozen=True, slots=True)
class _Norm:
    gain: Array
    bias: Array


@dataclass(frozen=True, slots=True)
class _Dense:
    weight: Array
    bias: Array

    def __call__(self, rows: Array) -> Array:
        return rows @ self.weight + self.bias


@dataclass(frozen=True, slots=True)
class _Layer:
    """Query, key and value are one matrix, so that they are one multiplication."""

    attend: _Dense
    out: _Dense
    after_attention: _Norm
    widen: _Dense
    narrow: _Dense
    after_widening: _Norm


class Bert:
    """`weights` by their names, float32."""

    def __init__(self, numpy: Any, weights: Mapping[str, Array], *, layers: int, heads: int, epsilon: float) -> None:
        self._np = numpy
        self._heads = heads
        self._epsilon = epsilon
        embeddings = "embeddings."
        self._words = weights[f"{embeddings}word_embeddings.weight"]
        self._places = (
            weights[f"{embeddings}position_embeddings.weight"]
            + (weights[f"{embeddings}token_type_embeddings.weight"][0])
        )
        self._first = self._norm(weights, f"{embeddings}LayerNorm")
        self._layers = [self._layer(weights, f"encoder.layer.{number}.") for number in range(layers)]

    def __repr__(self) -> str:
        return f"<Bert {len(self._layers)} layers, {self._heads} heads>"

    def sentences(self, ids: Array, mask: Array) -> Array:
        """A vector of length 1 for each row. `ids`: word pieces (one row a text); `mask`: 1 for a piece, 0 for none."""
        np = self._np
        texts, pieces = ids.shape
        states = self._normed(self._words[ids] + self._places[:pieces], self._first)
        absent = ((1 - mask) * np.float32(_ABSENT))[:, None, None, :]
        for layer in self._layers:
            states = self._normed(states + self._attended(states, absent, layer), layer.after_attention)
            flat = states.reshape(texts * pieces, -1)
            wide = layer.narrow(self._gelu(layer.widen(flat)))
            states = self._normed(states + wide.reshape(states.shape), layer.after_widening)
        present = mask[:, :, None]
        mean = (states * present).sum(1) / np.maximum(present.sum(1), 1)
        return mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), np.float32(1e-12))

    def _attended(self, states: Array, absent: Array, layer: _Layer) -> Array:
        texts, pieces, size = states.shape
        each = size // self._heads
        mixed = layer.attend(states.reshape(-1, size)).reshape(texts, pieces, 3, self._heads, each)
        query, key, value = mixed.transpose(2, 0, 3, 1, 4)
        scores = query @ key.transpose(0, 1, 3, 2) * self._np.float32(each**-0.5) + absent
        scores -= scores.max(-1, keepdims=True)
        self._np.exp(scores, out=scores)
        scores /= scores.sum(-1, keepdims=True)
        return layer.out((scores @ value).transpose(0, 2, 1, 3).reshape(-1, size)).reshape(states.shape)

    def _normed(self, states: Array, norm: _Norm) -> Array:
        states = states - states.mean(-1, keepdims=True)
        variance = (states * states).mean(-1, keepdims=True)
        return states / self._np.sqrt(variance + self._np.float32(self._epsilon)) * norm.gain + norm.bias

    def _gelu(self, rows: Array) -> Array:
        """x·Φ(x). numpy has no error function; Abramowitz and Stegun 7.1.26 errs by 1.5e-7 at most."""
        np = self._np
        size = np.abs(rows) * np.float32(0.5**0.5)
        step = 1 / (1 + np.float32(0.3275911) * size)
        series = np.float32(1.061405429) * step - np.float32(1.453152027)
        for coefficient in (1.421413741, -0.284496736, 0.254829592):
            series = series * step + np.float32(coefficient)
        erf = 1 - series * step * np.exp(-size * size)
        return np.float32(0.5) * rows * (1 + np.sign(rows) * erf)

    def _layer(self, weights: Mapping[str, Array], prefix: str) -> _Layer:
        np, attention = self._np, f"{prefix}attention."
        parts = [f"{attention}self.{part}" for part in ("query", "key", "value")]
        together = np.concatenate([weights[f"{part}.weight"] for part in parts])
        attend = _Dense(np.ascontiguousarray(together.T), np.concatenate([weights[f"{part}.bias"] for part in parts]))
        return _Layer(
            attend,
            self._dense(weights, f"{attention}output.dense"),
            self._norm(weights, f"{attention}output.LayerNorm"),
            self._dense(weights, f"{prefix}intermediate.dense"),
            self._dense(weights, f"{prefix}output.dense"),
            self._norm(weights, f"{prefix}output.LayerNorm"),
        )

    def _dense(self, weights: Mapping[str, Array], name: str) -> _Dense:
        return _Dense(self._np.ascontiguousarray(weights[f"{name}.weight"].T), weights[f"{name}.bias"])

    def _norm(self, weights: Mapping[str, Array], name: str) -> _Norm:
        return _Norm(weights[f"{name}.weight"], weights[f"{name}.bias"])
