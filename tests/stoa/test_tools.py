"""Calls and results in words that belong to no wire."""

from stoa.tools import Block, ToolRef, ToolResult


def test_a_tool_is_written_with_its_server() -> None:
    assert str(ToolRef("content", "search_documents")) == "content.search_documents"


def test_the_text_of_a_result_is_its_text_blocks() -> None:
    blocks = (
        Block("text", "one", {}),
        Block("image", "", {}),
        Block("resource", "hidden", {}),
        Block("text", "two", {}),
    )
    assert ToolResult(blocks).text == "one\ntwo"
