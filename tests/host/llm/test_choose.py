"""Which model answers: decided from the arguments and the environment alone, and said in one sentence."""

import dataclasses
import re
from collections.abc import Mapping

import pytest

from host.llm.choose import DEFAULT_NAMES, Choice, ModelChoice, choose, is_loopback
from stoa.errors import BadInput

KEY = "sk-very-secret-1234"
OPENAI = {"OPENAI_API_KEY": KEY}
ANTHROPIC = {"ANTHROPIC_API_KEY": KEY}
LOCAL = "http://127.0.0.1:11434/v1"


def chosen(model: str | None, environ: Mapping[str, str]) -> ModelChoice:
    choice = choose(model, environ)
    assert choice.model is not None, choice.why
    return choice.model


def test_without_anything_the_planner_answers_and_says_how_to_get_a_model() -> None:
    choice = choose(None, {"PATH": "/bin", "OPENAI_API_KEY": "  "})
    assert choice.model is None
    assert all(name in choice.why for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "STOA_MODEL_URL", "--model"))


def test_the_planner_can_be_asked_for_although_keys_are_set() -> None:
    assert choose("planner", OPENAI | ANTHROPIC) == Choice(None, "The planner answers, as --model says.")


@pytest.mark.parametrize(
    ("environ", "label"),
    [
        (OPENAI, f"openai:{DEFAULT_NAMES['openai']}"),
        (ANTHROPIC, f"anthropic:{DEFAULT_NAMES['anthropic']}"),
        (OPENAI | ANTHROPIC, f"openai:{DEFAULT_NAMES['openai']}"),
        (OPENAI | {"STOA_MODEL_URL": LOCAL, "STOA_MODEL_NAME": "qwen"}, f"openai-compatible:{LOCAL}#qwen"),
        ({"STOA_MODEL_URL": f"{LOCAL}/#qwen"}, f"openai-compatible:{LOCAL}#qwen"),
    ],
)
def test_the_environment_names_a_model(environ: Mapping[str, str], label: str) -> None:
    choice = choose(None, environ)
    assert choice.model is not None
    assert choice.model.label == label
    assert choice.why.startswith(f"{label} answers, because ")


@pytest.mark.parametrize(
    ("model", "label"),
    [
        ("openai", f"openai:{DEFAULT_NAMES['openai']}"),
        ("openai:gpt-6-luna", "openai:gpt-6-luna"),
        ("anthropic:claude-haiku-5-5", "anthropic:claude-haiku-5-5"),
        (f"openai-compatible:{LOCAL}#llama3.2:3b", f"openai-compatible:{LOCAL}#llama3.2:3b"),
    ],
)
def test_the_argument_goes_before_the_environment(model: str, label: str) -> None:
    environ = OPENAI | ANTHROPIC | {"STOA_MODEL_URL": "http://127.0.0.1:1/v1", "STOA_MODEL_NAME": "other"}
    assert chosen(model, environ).label == label


def test_a_compatible_server_gets_its_own_key_and_never_that_of_openai() -> None:
    assert chosen(f"openai-compatible:{LOCAL}#m", OPENAI).key is None
    own = chosen(f"openai-compatible:{LOCAL}#m", OPENAI | {"STOA_MODEL_KEY": "own"}).key
    assert own is not None
    assert own.get_secret_value() == "own"


def test_another_address_of_a_provider_is_taken_from_its_own_variable() -> None:
    assert chosen(None, OPENAI | {"OPENAI_BASE_URL": "http://localhost:9/v1/"}).base_url == "http://localhost:9/v1"
    assert chosen(None, ANTHROPIC | {"ANTHROPIC_BASE_URL": "https://x.example"}).base_url == "https://x.example"
    assert chosen(None, OPENAI).base_url is None


@pytest.mark.parametrize(
    "model",
    ["", "gpt-6-luna", "openai:", "gemini:flash", "planner:x", "openai-compatible", "openai-compatible:"],
)
def test_what_names_no_model_is_refused_with_the_accepted_forms(model: str) -> None:
    with pytest.raises(BadInput) as caught:
        choose(model, OPENAI)
    assert "openai-compatible:URL#NAME" in str(caught.value)


@pytest.mark.parametrize(("model", "variable"), [("openai:x", "OPENAI_API_KEY"), ("anthropic", "ANTHROPIC_API_KEY")])
def test_a_missing_key_is_named(model: str, variable: str) -> None:
    with pytest.raises(BadInput, match=variable):
        choose(model, {})


@pytest.mark.parametrize(
    "url",
    ["localhost:11434/v1", "ftp://127.0.0.1/v1", "http://", "http://[::1/v1", "http://a b/v1", "http://127.0.0.1:0/v1"],
)
def test_an_address_that_cannot_be_used_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(BadInput, match=re.escape(LOCAL)):
        choose(f"openai-compatible:{url}#m", {})


def test_a_server_with_several_models_wants_one_named() -> None:
    with pytest.raises(BadInput, match="STOA_MODEL_NAME"):
        choose(None, {"STOA_MODEL_URL": LOCAL})


def test_a_key_goes_encrypted_or_stays_on_the_machine() -> None:
    far = {"STOA_MODEL_URL": "http://10.0.0.7:8000/v1#m"}
    with pytest.raises(BadInput, match="https"):
        choose(None, far | {"STOA_MODEL_KEY": KEY})
    with pytest.raises(BadInput, match="OPENAI_API_KEY would travel"):
        choose(None, OPENAI | {"OPENAI_BASE_URL": "http://proxy.example/v1"})
    assert "without encryption" in choose(None, far).why
    assert "encryption" not in choose(None, {"STOA_MODEL_URL": "https://10.0.0.7/v1#m", "STOA_MODEL_KEY": KEY}).why


@pytest.mark.parametrize(
    ("url", "inside"),
    [
        ("http://127.0.0.1:1", True),
        ("http://127.9.9.9", True),
        ("http://[::1]:8080/v1", True),
        ("http://localhost", True),
        ("http://ollama.localhost:1/v1", True),
        ("http://localhost.example.com", False),
        ("http://127.0.0.1.example.com", False),
        ("http://10.0.0.1", False),
        ("https://api.openai.com/v1", False),
    ],
)
def test_what_stays_on_this_machine(url: str, inside: bool) -> None:
    assert is_loopback(url) is inside


@pytest.mark.parametrize("key", [f"{KEY}\n{KEY}", f"{KEY} x", f"“{KEY}”"])
def test_a_key_with_characters_that_no_key_has_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(BadInput, match="OPENAI_API_KEY") as caught:
        choose(None, {"OPENAI_API_KEY": key})
    assert KEY not in str(caught.value)


def test_no_key_is_ever_shown() -> None:
    choice = choose("openai", OPENAI)
    assert KEY not in f"{choice!r} {choice} {choice.model and dataclasses.asdict(choice.model)}"
    for model in (f"openai-compatible:http://{KEY}@127.0.0.1/v1#m", f"openai-compatible:http://127.0.0.1/v1?k={KEY}#m"):
        with pytest.raises(BadInput, match="STOA_MODEL_KEY") as caught:
            choose(model, {})
        assert KEY not in str(caught.value)
    with pytest.raises(BadInput) as caught:
        choose(f"{KEY}{KEY}", {})
    assert KEY not in str(caught.value)
