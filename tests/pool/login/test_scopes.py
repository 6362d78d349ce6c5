"""Rights that a login lacks are read from the server's challenge, and asked for beside those that there are."""

import pytest

from pool.login.scopes import union, wanted_scope


@pytest.mark.parametrize(
    ("challenge", "scope"),
    [
        ('Bearer error="insufficient_scope", scope="a:write b", resource_metadata="http://x"', "a:write b"),
        ("Bearer scope=a,error=insufficient_scope", "a"),
        ('Bearer error="invalid_token", scope="a"', ""),
        ('Bearer error="insufficient_scope"', ""),
        ('Bearer error="insufficient_scope", scope="a\x00b"', ""),
        ('Bearer error="insufficient_scope", scope="' + "a" * 5000 + '"', ""),
        ("", ""),
    ],
)
def test_only_insufficient_scope_asks_for_more(challenge: str, scope: str) -> None:
    assert wanted_scope(challenge) == scope


def test_nothing_that_was_granted_is_lost() -> None:
    assert union("read write", "write admin") == "read write admin"
    assert union(None, "a b") == "a b"
