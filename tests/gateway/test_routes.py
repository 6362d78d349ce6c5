"""Which server an address belongs to."""

import time

import pytest

from gateway.routes import Routes, read_template


@pytest.mark.parametrize(
    ("template", "uri", "fits"),
    [
        ("note://{id}", "note://7", True),
        ("note://{id}", "note://7/8", False),
        ("note://{+path}", "note://7/8", True),
        ("note://{path*}", "note://7/8", True),
        ("note://{id}/data", "note://7/data", True),
        ("note://{id}/data", "note://7/date", False),
        ("note://{a}/{b}", "note://x/y", True),
        ("note://{a}/{b}", "note://x", False),
        ("note://all", "note://all", True),
        ("note://all", "note://all/1", False),
        ("note://find{?q,limit}", "note://find?q=a/b&limit=3", True),
        ("note://find{?q,limit}", "note://find", True),
        ("file:///{name}.txt", "file:///a.txt.txt", True),
        ("file:///{name}.txt", "file:///a.md", False),
    ],
)
def test_a_template_fits_what_can_be_made_from_it(template: str, uri: str, fits: bool) -> None:
    assert read_template(template).matches(uri) is fits


def test_matching_takes_no_longer_than_reading() -> None:
    pattern = read_template("x://" + "{a}-" * 50 + "end")
    started = time.process_time()
    assert not pattern.matches("x://" + "-" * 8000)
    assert time.process_time() - started < 0.5


def routes() -> Routes:
    return Routes.of(
        [
            ("one", [{"uri": "note://a"}, {"uri": "note://both"}], [{"uriTemplate": "note://one/{id}"}]),
            ("two", [{"uri": "note://both"}, {"uri": "task://1"}], [{"uriTemplate": "note://{id}/two"}, {"uri": 7}]),
        ],
        servers=["one", "two", "three"],
    )


@pytest.mark.parametrize(
    ("uri", "server"),
    [
        ("note://a", "one"),  # listed
        ("note://both", "one"),  # listed by both: the first one has it
        ("task://1", "two"),
        ("note://one/7", "one"),  # a template
        ("note://7/two", "two"),
        ("note://{id}/two", "two"),  # a template itself, as completion names it
        ("three://x", "three"),  # a server's name
        ("task://99", "two"),  # a scheme that only it has listed
        ("nothing://x", None),
        ("note://" + "x" * 9000, None),
    ],
)
def test_listing_template_and_scheme_decide_in_this_order(uri: str, server: str | None) -> None:
    assert routes().find(uri) == server


def test_what_came_second_is_told() -> None:
    assert routes().twice == (("note://both", "two"),)
