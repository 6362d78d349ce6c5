"""The forward pass, beside the same formulas written with loops."""

import math
import random
from collections.abc import Sequence
from typing import Any

import pytest

from embedding.bert import Bert

numpy: Any = pytest.importorskip("numpy", reason="numpy comes with the embeddings extra")

WORDS, PLACES, SIZE, WIDE, LAYERS, HEADS = 11, 7, 8, 12, 2, 2
EPSILON = 1e-12
Rows = list[list[float]]


def weights(seed: int) -> dict[str, Any]:
    rng = random.Random(seed)

    def array(*shape: int) -> Any:
        return numpy.array([rng.gauss(0, 0.7) for _ in range(math.prod(shape))], dtype=numpy.float32).reshape(shape)

    made = {
        "embeddings.word_embeddings.weight": array(WORDS, SIZE),
        "embeddings.position_embeddings.weight": array(PLACES, SIZE),
        "embeddings.token_type_embeddings.weight": array(2, SIZE),
        "embeddings.LayerNorm.weight": array(SIZE),
        "embeddings.LayerNorm.bias": array(SIZE),
    }
    for number in range(LAYERS):
        for name, out, into in (
            ("attention.self.query", SIZE, SIZE),
            ("attention.self.key", SIZE, SIZE),
            ("attention.self.value", SIZE, SIZE),
            ("attention.output.dense", SIZE, SIZE),
            ("intermediate.dense", WIDE, SIZE),
            ("output.dense", SIZE, WIDE),
        ):
            made[f"encoder.layer.{number}.{name}.weight"] = array(out, into)
            made[f"encoder.layer.{number}.{name}.bias"] = array(out)
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            made[f"encoder.layer.{number}.{name}.weight"] = array(SIZE)
            made[f"encoder.layer.{number}.{name}.bias"] = array(SIZE)
    return made


def by_hand(known: dict[str, Any], ids: Sequence[int]) -> list[float]:
    """One text, no padding."""

    def norm(rows: Rows, name: str) -> Rows:
        made: Rows = []
        for row in rows:
            mean = sum(row) / len(row)
            spread = math.sqrt(sum((value - mean) ** 2 for value in row) / len(row) + EPSILON)
            gain, bias = known[f"{name}.weight"].tolist(), known[f"{name}.bias"].tolist()
            made.append([(value - mean) / spread * g + b for value, g, b in zip(row, gain, bias, strict=True)])
        return made

    def dense(rows: Rows, name: str) -> Rows:
        weight, bias = known[f"{name}.weight"].tolist(), known[f"{name}.bias"].tolist()
        return [
            [sum(a * b for a, b in zip(row, line, strict=True)) + c for line, c in zip(weight, bias, strict=True)]
            for row in rows
        ]

    def attention(rows: Rows, prefix: str) -> Rows:
        query, key, value = (dense(rows, f"{prefix}attention.self.{part}") for part in ("query", "key", "value"))
        each = SIZE // HEADS
        made: Rows = [[] for _ in rows]
        for head in range(HEADS):
            part = slice(head * each, (head + 1) * each)
            for place, asked in enumerate(query):
                scores = [sum(a * b for a, b in zip(asked[part], k[part], strict=True)) / math.sqrt(each) for k in key]
                powers = [math.exp(score) for score in scores]
                shares = [power / sum(powers) for power in powers]
                made[place] += [
                    sum(share * v[part][column] for share, v in zip(shares, value, strict=True))
                    for column in range(each)
                ]
        return dense(made, f"{prefix}attention.output.dense")

    def add(first: Rows, second: Rows) -> Rows:
        return [[a + b for a, b in zip(one, two, strict=True)] for one, two in zip(first, second, strict=True)]

    table = {
        name: known[f"embeddings.{name}_embeddings.weight"].tolist() for name in ("word", "position", "token_type")
    }
    rows = [
        [
            a + b + c
            for a, b, c in zip(table["word"][word], table["position"][place], table["token_type"][0], strict=True)
        ]
        for place, word in enumerate(ids)
    ]
    rows = norm(rows, "embeddings.LayerNorm")
    for number in range(LAYERS):
        prefix = f"encoder.layer.{number}."
        rows = norm(add(rows, attention(rows, prefix)), f"{prefix}attention.output.LayerNorm")
        wide = [
            [0.5 * value * (1 + math.erf(value / math.sqrt(2))) for value in row]
            for row in dense(rows, f"{prefix}intermediate.dense")
        ]
        rows = norm(add(rows, dense(wide, f"{prefix}output.dense")), f"{prefix}output.LayerNorm")
    mean = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    length = math.sqrt(sum(value * value for value in mean))
    return [value / length for value in mean]


@pytest.mark.parametrize("seed", range(3))
def test_the_pass_gives_what_the_formulas_say_and_padding_changes_nothing(seed: int) -> None:
    known = weights(seed)
    bert = Bert(numpy, known, layers=LAYERS, heads=HEADS, epsilon=EPSILON)
    texts = [[1, 5, 9, 2], [3, 3], [10]]
    longest = max(map(len, texts))
    ids = numpy.array([text + [0] * (longest - len(text)) for text in texts])
    mask = numpy.array([[1] * len(text) + [0] * (longest - len(text)) for text in texts], dtype=numpy.float32)
    found = bert.sentences(ids, mask).tolist()
    for text, row in zip(texts, found, strict=True):
        assert row == pytest.approx(by_hand(known, text), abs=2e-5)
