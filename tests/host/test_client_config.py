"""Entries for other clients."""

from pathlib import Path, PurePosixPath

import pytest

from host.client_config import CLIENTS, Client, entry, where_to_paste
from host.launch import Launch

LAUNCHES = (Launch("docs", "content", ("--root", "/srv"), {}, Path("/here")),)
HOME = PurePosixPath("/home/me/.stoa")


@pytest.mark.parametrize(
    ("client", "key", "kind"),
    [
        ("claude-desktop", "mcpServers", {}),
        ("claude-code", "mcpServers", {"type": "stdio"}),
        ("cursor", "mcpServers", {}),
        ("vscode", "servers", {"type": "stdio"}),
    ],
)
def test_each_client_gets_its_own_form(client: Client, key: str, kind: dict[str, str]) -> None:
    made = entry(client, LAUNCHES, command=("/opt/stoa/bin/stoa",), home=HOME, environ={})
    assert made == {
        key: {
            "docs": {
                **kind,
                "command": "/opt/stoa/bin/stoa",
                "args": ["serve", "content", "--root", "/srv"],
                "env": {"STOA_HOME": "/home/me/.stoa"},
            }
        }
    }


def test_a_command_of_several_words_goes_before_the_arguments() -> None:
    made = entry("cursor", LAUNCHES, command=("/usr/bin/python3", "-m", "host"), home=HOME, environ={})
    assert made["mcpServers"]["docs"]["args"][:3] == ["-m", "host", "serve"]  # type: ignore[index,call-overload]  # JSON


def test_settings_that_are_no_secret_are_passed_on_and_secrets_are_not() -> None:
    environ = {"STOA_ROOTS": "/srv", "STOA_SECRET_KEY": "s" * 40, "OPENAI_API_KEY": "sk-1"}
    text = str(entry("cursor", LAUNCHES, command=("stoa",), home=HOME, environ=environ))
    assert "'STOA_ROOTS': '/srv'" in text
    assert "sk-1" not in text
    assert "ssss" not in text


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_where_to_paste_names_a_file(client: Client, platform: str) -> None:
    assert ".json" in where_to_paste(client, platform)
