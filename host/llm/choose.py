"""Which model answers, and why: the command line goes before the environment, and without either no model is used.

Decided from the arguments alone. Nothing is looked for on the network: a server that merely listens is never asked.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

from pydantic import SecretStr

from stoa.errors import BadInput

__all__ = ["DEFAULT_NAMES", "FORMS", "Choice", "ModelChoice", "Provider", "choose", "is_loopback"]

Provider = Literal["openai", "anthropic", "openai-compatible"]

DEFAULT_NAMES: Final[Mapping[Provider, str]] = {"openai": "gpt-6.1-terra", "anthropic": "claude-sonnet-5-5"}
"""The model of each provider that stands in the middle of price and skill; name another one with `--model`."""

FORMS: Final = "planner, openai, openai:NAME, anthropic, anthropic:NAME or openai-compatible:URL#NAME"


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model to talk to. `base_url` is None for the provider's own address; `key` is masked wherever it is shown."""

    provider: Provider
    name: str
    base_url: str | None = None
    key: SecretStr | None = None
    key_variable: str = ""

    @property
    def label(self) -> str:
        """How the model is written on the command line; holds no secret."""
        if self.provider == "openai-compatible":
            return f"{self.provider}:{self.base_url}#{self.name}"
        return f"{self.provider}:{self.name}"

    @property
    def is_priced(self) -> bool:
        """Whether its name says what it costs: on somebody's own server, a name says nothing."""
        return self.provider != "openai-compatible"


@dataclass(frozen=True, slots=True)
class Choice:
    """`model` is None where the planner answers; `why` is one sentence for people."""

    model: ModelChoice | None
    why: str


def choose(model: str | None, environ: Mapping[str, str]) -> Choice:
    """The model named by `--model`, else by the environment, else none. Raises `BadInput` with the remedy."""
    if model is not None:
        return _from_argument(model.strip(), environ)
    if _get(environ, "STOA_MODEL_URL"):
        return _explained(_compatible(None, environ, source="STOA_MODEL_URL"), "STOA_MODEL_URL is set")
    if _get(environ, "OPENAI_API_KEY"):
        also = " (it goes before ANTHROPIC_API_KEY)" if _get(environ, "ANTHROPIC_API_KEY") else ""
        return _explained(_hosted("openai", "", environ), f"OPENAI_API_KEY is set{also}")
    if _get(environ, "ANTHROPIC_API_KEY"):
        return _explained(_hosted("anthropic", "", environ), "ANTHROPIC_API_KEY is set")
    return Choice(
        None,
        "No model is configured, so the planner answers; "
        "set OPENAI_API_KEY, ANTHROPIC_API_KEY or STOA_MODEL_URL, or give --model.",
    )


def _from_argument(model: str, environ: Mapping[str, str]) -> Choice:
    provider, colon, rest = model.partition(":")
    if colon and not rest.strip():
        raise BadInput(f"--model {model!r} ends where a name should follow.", hint=f"Give {FORMS}.")
    match provider:
        case "planner" if not colon:
            return Choice(None, "The planner answers, as --model says.")
        case "openai" | "anthropic":
            return _explained(_hosted(provider, rest.strip(), environ), "--model says so")
        case "openai-compatible":
            return _explained(_compatible(rest or None, environ, source="--model"), "--model says so")
        case _:
            raise BadInput(f"--model {_shown(model)!r} names no provider that is known.", hint=f"Give {FORMS}.")


def _explained(choice: ModelChoice, because: str) -> Choice:
    why = f"{choice.label} answers, because {because}."
    if choice.base_url is not None and not _is_private(choice.base_url):
        why += f" Text travels to {choice.base_url} without encryption."
    return Choice(choice, why)


def _hosted(provider: Literal["openai", "anthropic"], name: str, environ: Mapping[str, str]) -> ModelChoice:
    variable = f"{provider.upper()}_API_KEY"
    key = _key(environ, variable)
    if key is None:
        raise BadInput(f"{provider} needs a key, and {variable} is not set.", hint=f"Set {variable}.")
    address_variable = f"{provider.upper()}_BASE_URL"
    given = _get(environ, address_variable)
    base_url = _address(given, source=address_variable, key=key, key_variable=variable) if given else None
    return ModelChoice(provider, name or DEFAULT_NAMES[provider], base_url, key, variable)


def _compatible(given: str | None, environ: Mapping[str, str], *, source: str) -> ModelChoice:
    text = given or _get(environ, "STOA_MODEL_URL")
    if not text:
        raise BadInput("openai-compatible needs an address.", hint="Give openai-compatible:URL#NAME.")
    url, _, name = text.strip().partition("#")
    name = name.strip() or _get(environ, "STOA_MODEL_NAME")
    key = _key(environ, "STOA_MODEL_KEY")
    base_url = _address(url, source=source, key=key, key_variable="STOA_MODEL_KEY")
    if not name:
        raise BadInput(
            f"The server at {base_url} may have several models, and none is named.",
            hint="Write #NAME behind the address, or set STOA_MODEL_NAME.",
        )
    return ModelChoice("openai-compatible", name, base_url, key, "STOA_MODEL_KEY")


def _address(text: str, *, source: str, key: SecretStr | None, key_variable: str) -> str:
    """The address of an API without a slash at its end. A key travels encrypted or stays on this machine."""
    example = "Give one like http://127.0.0.1:11434/v1 or https://models.example.com/v1."
    try:
        parts = urlsplit(text)
        well_formed = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise BadInput(f"The address from {source} cannot be read.", hint=example) from None
    if parts.username is not None or parts.password is not None or parts.query:
        raise BadInput(
            f"The address from {source} carries a user, a password or a query.",
            hint=f"Put the key into {key_variable} and leave the address plain.",
        )
    if not well_formed or parts.fragment or any(c.isspace() or not c.isprintable() for c in text):
        raise BadInput(f"The address {text!r} from {source} cannot be used.", hint=example)
    if key is not None and not _is_private(text):
        raise BadInput(
            f"{key_variable} would travel to {text} unencrypted.",
            hint=f"Use https or a tunnel from this machine, or unset {key_variable} if no key is needed.",
        )
    return text.rstrip("/")


def _is_private(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" or is_loopback(url)


def is_loopback(url: str) -> bool:
    """Whether an address stays on this machine, judged by its text alone."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _key(environ: Mapping[str, str], variable: str) -> SecretStr | None:
    text = _get(environ, variable)
    if not text:
        return None
    if not text.isascii() or any(c.isspace() or not c.isprintable() for c in text):
        raise BadInput(
            f"{variable} holds characters that no key has (spaces, line ends or letters outside ASCII).",
            hint="Copy the key again, without quotes around it.",
        )
    return SecretStr(text)


def _get(environ: Mapping[str, str], name: str) -> str:
    """The value of a variable, stripped; unset and empty are the same."""
    return environ.get(name, "").strip()


def _shown(model: str) -> str:
    """What was given, short: somebody may have put a key there by mistake."""
    return model if len(model) <= 24 else model[:12] + "…"
