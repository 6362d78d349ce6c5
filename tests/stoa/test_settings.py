"""Settings: read from an environment that is handed in, checked, and silent about secrets."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from stoa.errors import BadInput
from stoa.settings import Settings, read_environment

HOME = Path("/home-of-stoa")
SECRETS = ("STOA_SECRET_KEY", "STOA_INTERNAL_KEY", "STOA_UPSTREAM_TOKEN", "STOA_AUTH_SECRET")


def load(**environ: str) -> Settings:
    return Settings.load(environ, default_home=HOME)


def test_an_empty_environment_gives_defaults() -> None:
    settings = load()
    assert (settings.home, settings.log_level, settings.roots) == (HOME, "WARNING", ())
    assert not settings.auth.is_on


def test_the_real_environment_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOA_LOG_LEVEL", "DEBUG")
    assert load().log_level == "WARNING"


def test_lists_are_split_and_trimmed() -> None:
    settings = load(STOA_ROOTS=f"/a{os.pathsep} /b {os.pathsep}", STOA_ALLOWED_HOSTS="a.example, b.example,")
    assert settings.roots == (Path("/a"), Path("/b"))
    assert settings.allowed_hosts == ("a.example", "b.example")


def test_an_empty_variable_counts_as_unset() -> None:
    assert load(STOA_HOME="", STOA_UPSTREAM="", STOA_AUTH_SECRET="") == load()


def test_variables_of_others_are_left_alone() -> None:
    assert load(STOA_CONTENT_SOMETHING="1", PATH="/bin") == load()


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_do_not_show(name: str) -> None:
    settings = load(**{name: "hunter2-hunter2-hunter2-hunter2-hunter2"})
    assert settings != load()
    assert "hunter2" not in repr(settings) + str(settings) + settings.model_dump_json()


def test_a_wrong_value_is_named_with_its_variable() -> None:
    with pytest.raises(BadInput, match="STOA_LOG_LEVEL"):
        load(STOA_LOG_LEVEL="LOUD")


def test_an_unknown_auth_variable_is_named_and_its_value_is_not() -> None:
    with pytest.raises(BadInput, match="STOA_AUTH_SECRETE") as refusal:
        load(STOA_AUTH_SECRETE="hunter2")
    assert "hunter2" not in str(refusal.value)


def test_auth_is_on_with_a_secret_or_an_issuer() -> None:
    assert load(STOA_AUTH_SECRET="s" * 32).auth.is_on
    assert load(STOA_AUTH_JWKS_URL="https://issuer/jwks").auth.is_on
    assert not load(STOA_AUTH_ISSUER="https://issuer", STOA_AUTH_AUDIENCE="stoa").auth.is_on


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        load().home = Path("/elsewhere")  # pyright: ignore[reportAttributeAccessIssue]  # that it fails is the test


def test_a_prefix_is_taken_off_and_case_is_folded() -> None:
    assert read_environment({"STOA_A_B": "1", "OTHER": "2", "STOA_": "3"}, "STOA_") == {"a_b": "1", "": "3"}
