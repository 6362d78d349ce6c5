"""Sentence vectors from a folder as sentence-transformers writes it: config.json, tokenizer.json, model.safetensors.

The kind that is read: BERT with mean pooling, as the all-MiniLM models are. The forward pass is numpy (see `bert`): no
torch, no graph to be built, and the vectors of the original to six digits.
"""

import hashlib
import json
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from embedding.bert import Bert
from stoa.errors import BadInput, Unavailable

__all__ = ["MODEL_FILE", "SentenceModel", "SentenceModelFolder"]

MODEL_FILE: Final = "model.safetensors"
_MAX_PIECES: Final = 256
"""Word pieces of a text that are read: what the model was trained with."""
_MAX_CHARACTERS: Final = 20_000
"""Of a text, before it is cut into pieces."""
_BATCH: Final = 16
"""Texts that go through the model together. Longer batches are no faster on few cores and take more memory."""
_THREADS: Final = "OPENBLAS_NUM_THREADS"


class _Config(BaseModel):
    """The part of config.json that the forward pass needs."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    model_type: str
    hidden_act: str = "gelu"
    position_embedding_type: str = "absolute"
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    max_position_embeddings: int
    layer_norm_eps: float = 1e-12


@dataclass(frozen=True, slots=True)
class SentenceModelFolder:
    """Where a model lies and how large it is. `sha256` of its weights, where only certain ones are wanted."""

    folder: Path
    name: str
    dimension: int
    layers: int
    heads: int
    positions: int
    epsilon: float
    sha256: str | None = None

    @classmethod
    def read(cls, folder: Path, *, name: str, sha256: str | None = None) -> Self:
        """From its config.json. Raises `BadInput` for what is no model, or one of another kind."""
        try:
            config = _Config.model_validate_json((folder / "config.json").read_bytes())
        except OSError as error:
            raise BadInput(f"{folder} is no model: config.json cannot be read ({error.strerror}).") from error
        except ValidationError as error:
            raise BadInput(f"{folder / 'config.json'} does not describe a BERT model.") from error
        shape = (config.model_type, config.hidden_act, config.position_embedding_type)
        if shape != ("bert", "gelu", "absolute") or config.hidden_size % max(1, config.num_attention_heads):
            raise BadInput(f"The model in {folder} is of a kind that is not read here: {', '.join(shape)}.")
        missing = [each for each in ("tokenizer.json", MODEL_FILE) if not (folder / each).is_file()]
        if missing:
            raise BadInput(f"{folder} is no complete model: {' and '.join(missing)} is missing.")
        if not _is_mean(folder):
            raise BadInput(f"The model in {folder} does not take the mean of its words' vectors.")
        return cls(
            folder,
            name,
            config.hidden_size,
            config.num_hidden_layers,
            config.num_attention_heads,
            config.max_position_embeddings,
            config.layer_norm_eps,
            sha256,
        )


class SentenceModel:
    """An `Embedder`. It is loaded by the first text (half a second, 200 MB); threads take turns."""

    def __init__(self, model: SentenceModelFolder) -> None:
        self._model = model
        self._lock = threading.Lock()
        self._loaded: tuple[Any, Bert] | None = None

    def __repr__(self) -> str:
        state = "not loaded" if self._loaded is None else "loaded"
        return f"<SentenceModel {self.name} of {self.dimension} dimensions, {state}>"

    @property
    def name(self) -> str:
        return self._model.name

    @property
    def dimension(self) -> int:
        return self._model.dimension

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """A row of float32 for each text, of length 1. Raises `Unavailable` when the model cannot be loaded."""
        with self._lock:
            if self._loaded is None:
                self._loaded = _load(self._model)
            tokenizer, bert = self._loaded
            numpy = import_module("numpy")
            rows = numpy.zeros((len(texts), self.dimension), dtype=numpy.float32)
            # Of about equal length in a batch: a batch is filled up to its longest text.
            order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
            for start in range(0, len(order), _BATCH):
                places = order[start : start + _BATCH]
                pieces = tokenizer.encode_batch([texts[place][:_MAX_CHARACTERS] for place in places])
                ids = numpy.array([each.ids for each in pieces])
                mask = numpy.array([each.attention_mask for each in pieces], dtype=numpy.float32)
                rows[places] = bert.sentences(ids, mask)
        return rows


def _is_mean(folder: Path) -> bool:
    """Whether vectors of words are averaged: what the folder says of pooling, and mean where it says nothing."""
    try:
        said = json.loads((folder / "1_Pooling" / "config.json").read_bytes())
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False
    return isinstance(said, dict) and said.get("pooling_mode_mean_tokens") is True  # pyright: ignore[reportUnknownMemberType]  # JSON


def _load(model: SentenceModelFolder) -> tuple[Any, Bert]:
    weights = model.folder / MODEL_FILE
    try:
        if model.sha256 is not None:
            _verify(weights, model.sha256)
        numpy = _numpy()
        tokenizer = import_module("tokenizers").Tokenizer.from_file(str(model.folder / "tokenizer.json"))
        tokenizer.enable_truncation(min(_MAX_PIECES, model.positions))
        tokenizer.enable_padding()
        loaded = import_module("safetensors.numpy").load_file(str(weights))
        bert = Bert(numpy, loaded, layers=model.layers, heads=model.heads, epsilon=model.epsilon)
    except Unavailable:
        raise
    except Exception as error:
        raise Unavailable(f"The model {model.name} cannot be loaded: {type(error).__name__}: {error}") from error
    return tokenizer, bert


def _verify(weights: Path, expected: str) -> None:
    with weights.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise Unavailable(
            f"The weights in {weights} are not those that Stoa knows (SHA-256 {found[:16]}…).",
            hint="Install the package again, or set STOA_EMBEDDER to the model's folder if you trust it.",
        )


def _numpy() -> Any:
    """numpy, with one thread where it is not loaded yet: for matrices as small as these, two take longer than one."""
    is_ours = _THREADS not in os.environ
    if is_ours:
        os.environ[_THREADS] = "1"
    try:
        return import_module("numpy")
    finally:
        if is_ours:
            del os.environ[_THREADS]
