"""Distributions as documents."""

from email.message import Message
from importlib.metadata import distributions
from pathlib import Path

import pytest

from host.corpus import document, installed


def metadata(body: str = "", **fields: str) -> Message:
    message = Message()
    for name, value in fields.items():
        message[name.replace("_", "-")] = value
    message.set_payload(body)
    return message


@pytest.mark.parametrize(
    ("content_type", "media_type", "suffix", "head"),
    [
        ("text/markdown; charset=UTF-8; variant=GFM", "text/markdown", ".md", "# thing 1.0\n\nDoes things\n"),
        ("text/x-rst", "text/x-rst", ".rst", "=========\nthing 1.0\n=========\n\nDoes things\n"),
        ("text/plain", "text/plain", ".txt", "thing 1.0\n\nDoes things\n"),
        ("text/surprise", "text/plain", ".txt", "thing 1.0\n\nDoes things\n"),
    ],
)
def test_name_version_and_summary_stand_above_the_description(
    content_type: str, media_type: str, suffix: str, head: str
) -> None:
    fields = {"Name": "thing", "Version": "1.0", "Summary": "Does things", "Description_Content_Type": content_type}
    found = document(metadata("The body.", **fields))
    assert found is not None
    assert (found.media_type, found.file_name, found.title) == (media_type, f"installed/thing{suffix}", "thing 1.0")
    assert found.text == f"{head}\nThe body.\n"


def test_a_description_without_a_type_is_restructured_text() -> None:
    found = document(metadata("Body", Name="thing", Version="1.0"))
    assert found is not None
    assert found.media_type == "text/x-rst"


def test_the_old_header_is_read_where_there_is_no_body() -> None:
    found = document(metadata(Name="thing", Version="1.0", Description="From the header"))
    assert found is not None
    assert "From the header" in found.text


@pytest.mark.parametrize("body", ["", "UNKNOWN", "  \n"])
def test_what_describes_nothing_is_no_document(body: str) -> None:
    assert document(metadata(body, Name="thing", Version="1.0", Summary="UNKNOWN")) is None


def test_the_installed_documents_are_many_and_each_name_stands_once_in_order() -> None:
    found = installed()
    names = [each.name.lower().replace("_", "-").replace(".", "-") for each in found]
    assert len(found) > 50
    assert names == sorted(set(names))
    assert {"pytest", "anyio", "pydantic"} <= set(names)
    assert installed() == found


def test_of_two_with_one_name_the_one_that_python_imports_is_taken(tmp_path: Path) -> None:
    for number, spelling in enumerate(("some_thing", "Some.Thing"), start=1):
        folder = tmp_path / str(number) / f"{spelling}-{number}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Name: {spelling}\nVersion: {number}\nSummary: Does things\n", "utf-8")
    found = installed(distributions(path=[str(tmp_path / "1"), str(tmp_path / "2")]))
    assert [each.title for each in found] == ["some_thing 1"]


def test_stoa_itself_is_no_document(tmp_path: Path) -> None:
    for name in ("stoa_mcp", "other"):
        folder = tmp_path / f"{name}-1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Name: {name}\nVersion: 1\nSummary: Does things\n", "utf-8")
    assert [each.name for each in installed(distributions(path=[str(tmp_path)]))] == ["other"]
    assert "stoa-mcp" not in {each.name for each in installed()}
