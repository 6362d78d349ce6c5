"""The home folder and the one key in it, which many processes ask for at once."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from stoa.errors import BadInput
from stoa.home import KEY_BYTES, open_home, secret_key
from stoa.settings import Settings

ASK = """
import sys
from pathlib import Path
from stoa.home import secret_key
from stoa.settings import Settings
print("ready", flush=True)
sys.stdin.readline()
print(secret_key(Settings(home=Path(sys.argv[1]))).hex())
"""


def settings(home: Path, **changed: object) -> Settings:
    return Settings.model_validate({"home": home, **changed})


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_home_is_for_its_owner_only(home: Path) -> None:
    assert mode(open_home(home / "deep")) == 0o700
    assert open_home(home / "deep") == home / "deep"


def test_the_key_is_made_once_and_for_its_owner_only(home: Path) -> None:
    key = secret_key(settings(home))
    assert len(key) == KEY_BYTES
    assert secret_key(settings(home)) == key
    assert [path.name for path in home.iterdir()] == ["secret.key"]
    assert mode(home / "secret.key") == 0o600


def test_homes_have_different_keys(tmp_path: Path) -> None:
    assert secret_key(settings(tmp_path / "a")) != secret_key(settings(tmp_path / "b"))


def test_a_key_from_the_settings_touches_no_disk(home: Path) -> None:
    assert secret_key(settings(home, secret_key=SecretStr("k" * 32))) == b"k" * 32
    assert not home.exists()


def test_a_short_key_is_refused_and_not_shown(home: Path) -> None:
    with pytest.raises(BadInput, match="7 bytes") as refusal:
        secret_key(settings(home, secret_key=SecretStr("hunter2")))
    assert "hunter2" not in str(refusal.value)


def test_processes_that_race_for_the_key_get_the_same_one(home: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", ASK, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    keys = {racer.communicate(timeout=30)[0].strip() for racer in racers}
    assert keys == {secret_key(settings(home)).hex()}
    assert [path.name for path in home.iterdir()] == ["secret.key"]


@pytest.mark.parametrize("content", [b"", b"short"])
def test_a_damaged_key_file_is_named_rather_than_used(home: Path, content: bytes) -> None:
    (open_home(home) / "secret.key").write_bytes(content)
    with pytest.raises(BadInput, match=r"secret\.key"):
        secret_key(settings(home))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_in_place_of_the_key_is_refused_at_once(home: Path) -> None:
    os.mkfifo(open_home(home) / "secret.key")
    with pytest.raises(BadInput, match="no regular file"):
        secret_key(settings(home))


def test_a_home_that_cannot_be_made_is_named_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="STOA_HOME"):
        open_home(tmp_path / "file" / "home")
    with pytest.raises(BadInput, match="STOA_HOME"):
        open_home(tmp_path / "file")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_home_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(BadInput, match="STOA_SECRET_KEY"):
        secret_key(settings(tmp_path / "locked"))
