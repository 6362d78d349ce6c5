"""How three model APIs write questions and answers: Chat Completions, Responses and Anthropic Messages. Pure.

Each wire has a reader (request body → `Asked`), a whole answer (`Turn` → JSON) and a streamed one (`Turn` → events).
Sources: the request and event types in the installed `openai` and `anthropic` packages.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

__all__ = ["WIRES", "Asked", "Call", "Event", "Result", "Turn", "Wire", "encode_event"]

Json = dict[str, Any]
WireName = Literal["chat", "responses", "messages"]

INPUT_TOKENS: Final = 11
OUTPUT_TOKENS: Final = 7
_PIECE: Final = 7


@dataclass(frozen=True)
class Call:
    """A tool that the model wants; `arguments` may be broken JSON on purpose."""

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict[str, Any])

    @property
    def text(self) -> str:
        return self.arguments if isinstance(self.arguments, str) else json.dumps(dict(self.arguments))


@dataclass(frozen=True)
class Turn:
    """What the model says: text, calls, or both."""

    text: str = ""
    calls: tuple[Call, ...] = ()


@dataclass(frozen=True)
class Result:
    call_id: str
    text: str
    is_error: bool = False


@dataclass(frozen=True)
class Asked:
    """A request in words that belong to no wire. `results` are those since the model's last answer."""

    wire: WireName
    model: str
    stream: bool
    system: str
    user: str
    tools: Mapping[str, Json]
    results: tuple[Result, ...]
    headers: Mapping[str, str]
    body: Json


@dataclass(frozen=True)
class Event:
    """A server-sent event; Chat Completions names none."""

    name: str | None
    data: Json | str


def encode_event(event: Event) -> bytes:
    data = event.data if isinstance(event.data, str) else json.dumps(event.data)
    return ((f"event: {event.name}\n" if event.name else "") + f"data: {data}\n\n").encode()


class Wire:
    """One API: where it listens and how it reads and writes."""

    name: WireName
    path: str

    def read(self, body: Json, headers: Mapping[str, str]) -> Asked:
        raise NotImplementedError

    def whole(self, turn: Turn, *, number: int, body: Json) -> Json:
        raise NotImplementedError

    def events(self, turn: Turn, *, number: int, body: Json) -> Iterator[Event]:
        raise NotImplementedError


class ChatWire(Wire):
    name = "chat"
    path = "/v1/chat/completions"

    def read(self, body: Json, headers: Mapping[str, str]) -> Asked:
        messages: list[Json] = body["messages"]
        since = _after_last(messages, lambda message: message["role"] == "assistant")
        return Asked(
            self.name,
            body["model"],
            bool(body.get("stream")),
            _texts(m["content"] for m in messages if m["role"] in {"system", "developer"}),
            _texts(m["content"] for m in messages if m["role"] == "user"),
            {tool["function"]["name"]: tool["function"] for tool in body.get("tools", [])},
            tuple(Result(m["tool_call_id"], _text(m["content"])) for m in since if m["role"] == "tool"),
            headers,
            body,
        )

    def whole(self, turn: Turn, *, number: int, body: Json) -> Json:
        message: Json = {"role": "assistant", "content": turn.text or None}
        if turn.calls:
            message["tool_calls"] = [
                {"id": f"call_{number}_{i}", "type": "function", "function": {"name": c.name, "arguments": c.text}}
                for i, c in enumerate(turn.calls)
            ]
        return {
            **self._head(number, body, "chat.completion"),
            "choices": [{"index": 0, "message": message, "finish_reason": self._reason(turn)}],
            "usage": self._usage(),
        }

    def events(self, turn: Turn, *, number: int, body: Json) -> Iterator[Event]:
        head = self._head(number, body, "chat.completion.chunk")

        def chunk(delta: Json, reason: str | None = None) -> Event:
            return Event(None, {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})

        yield chunk({"role": "assistant", "content": ""})
        for piece in _pieces(turn.text):
            yield chunk({"content": piece})
        for i, call in enumerate(turn.calls):
            function = {"name": call.name, "arguments": ""}
            yield chunk(
                {"tool_calls": [{"index": i, "id": f"call_{number}_{i}", "type": "function", "function": function}]}
            )
            for piece in _pieces(call.text):
                yield chunk({"tool_calls": [{"index": i, "function": {"arguments": piece}}]})
        yield chunk({}, self._reason(turn))
        options: Json = body.get("stream_options") or {}
        if options.get("include_usage"):
            yield Event(None, {**head, "choices": [], "usage": self._usage()})
        yield Event(None, "[DONE]")

    def _head(self, number: int, body: Json, kind: str) -> Json:
        return {"id": f"chatcmpl-{number}", "object": kind, "created": 0, "model": body["model"]}

    def _reason(self, turn: Turn) -> str:
        return "tool_calls" if turn.calls else "stop"

    def _usage(self) -> Json:
        return {
            "prompt_tokens": INPUT_TOKENS,
            "completion_tokens": OUTPUT_TOKENS,
            "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
        }


class ResponsesWire(Wire):
    name = "responses"
    path = "/v1/responses"

    def read(self, body: Json, headers: Mapping[str, str]) -> Asked:
        items: list[Json] = (
            [{"role": "user", "content": body["input"]}] if isinstance(body["input"], str) else body["input"]
        )
        since = _after_last(items, lambda item: item.get("type") == "function_call" or item.get("role") == "assistant")
        return Asked(
            self.name,
            body["model"],
            bool(body.get("stream")),
            "\n".join(
                [body.get("instructions") or "", _texts(i["content"] for i in items if i.get("role") == "system")]
            ),
            _texts(item["content"] for item in items if item.get("role") == "user"),
            {tool["name"]: tool for tool in body.get("tools", []) if tool["type"] == "function"},
            tuple(Result(i["call_id"], _text(i["output"])) for i in since if i.get("type") == "function_call_output"),
            headers,
            body,
        )

    def whole(self, turn: Turn, *, number: int, body: Json) -> Json:
        return self._response(number, body, "completed", self._items(turn, number), usage=True)

    def events(self, turn: Turn, *, number: int, body: Json) -> Iterator[Event]:
        items = self._items(turn, number)
        bare = list(self._bare_events(items, number, body))
        for sequence, data in enumerate(bare):
            yield Event(data["type"], {**data, "sequence_number": sequence})

    def _bare_events(self, items: list[Json], number: int, body: Json) -> Iterator[Json]:
        yield {"type": "response.created", "response": self._response(number, body, "in_progress", [], usage=False)}
        for index, item in enumerate(items):
            place = {"item_id": item["id"], "output_index": index}
            empty: Json = {"content": []} if item["type"] == "message" else {"arguments": ""}
            yield {
                "type": "response.output_item.added",
                "output_index": index,
                "item": {**item, "status": "in_progress", **empty},
            }
            if item["type"] == "message":
                yield from self._text_events(item["content"][0], {**place, "content_index": 0})
            else:
                kind = "response.function_call_arguments"
                for piece in _pieces(item["arguments"]):
                    yield {"type": f"{kind}.delta", **place, "delta": piece}
                yield {"type": f"{kind}.done", **place, "arguments": item["arguments"], "name": item["name"]}
            yield {"type": "response.output_item.done", "output_index": index, "item": item}
        yield {"type": "response.completed", "response": self._response(number, body, "completed", items, usage=True)}

    def _text_events(self, part: Json, place: Json) -> Iterator[Json]:
        yield {"type": "response.content_part.added", **place, "part": {**part, "text": ""}}
        for piece in _pieces(part["text"]):
            yield {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []}
        yield {"type": "response.output_text.done", **place, "text": part["text"], "logprobs": []}
        yield {"type": "response.content_part.done", **place, "part": part}

    def _items(self, turn: Turn, number: int) -> list[Json]:
        items: list[Json] = []
        if turn.text:
            part: Json = {"type": "output_text", "text": turn.text, "annotations": []}
            items.append(
                {
                    "type": "message",
                    "id": f"msg_{number}",
                    "role": "assistant",
                    "status": "completed",
                    "content": [part],
                }
            )
        for i, call in enumerate(turn.calls):
            ids = {"id": f"fc_{number}_{i}", "call_id": f"call_{number}_{i}"}
            items.append(
                {"type": "function_call", **ids, "name": call.name, "arguments": call.text, "status": "completed"}
            )
        return items

    def _response(self, number: int, body: Json, status: str, output: list[Json], *, usage: bool) -> Json:
        counted = {
            "input_tokens": INPUT_TOKENS,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": OUTPUT_TOKENS,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
        }
        return {
            "id": f"resp_{number}",
            "object": "response",
            "created_at": 0,
            "model": body["model"],
            "status": status,
            "output": output,
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": body.get("tools", []),
            "usage": counted if usage else None,
        }


class MessagesWire(Wire):
    name = "messages"
    path = "/v1/messages"

    def read(self, body: Json, headers: Mapping[str, str]) -> Asked:
        messages: list[Json] = body["messages"]
        since = _after_last(messages, lambda message: message["role"] == "assistant")
        contents: list[str | list[Json]] = [message["content"] for message in since]
        blocks = [block for content in contents if not isinstance(content, str) for block in content]
        return Asked(
            self.name,
            body["model"],
            bool(body.get("stream")),
            _text(body.get("system") or ""),
            _texts(m["content"] for m in messages if m["role"] == "user"),
            {tool["name"]: tool for tool in body.get("tools", [])},
            tuple(
                Result(b["tool_use_id"], _text(b.get("content") or ""), bool(b.get("is_error")))
                for b in blocks
                if b["type"] == "tool_result"
            ),
            headers,
            body,
        )

    def whole(self, turn: Turn, *, number: int, body: Json) -> Json:
        return {
            **self._head(number, body),
            "content": self._blocks(turn, number),
            "stop_reason": self._reason(turn),
            "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS},
        }

    def events(self, turn: Turn, *, number: int, body: Json) -> Iterator[Event]:
        start: Json = {
            **self._head(number, body),
            "content": [],
            "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": 1},
        }
        yield self._event("message_start", message=start)
        for index, block in enumerate(self._blocks(turn, number)):
            is_text = block["type"] == "text"
            empty: Json = {**block, "text": ""} if is_text else {**block, "input": {}}
            yield self._event("content_block_start", index=index, content_block=empty)
            for piece in _pieces(block["text"] if is_text else json.dumps(block["input"])):
                delta = (
                    {"type": "text_delta", "text": piece}
                    if is_text
                    else {"type": "input_json_delta", "partial_json": piece}
                )
                yield self._event("content_block_delta", index=index, delta=delta)
            yield self._event("content_block_stop", index=index)
        end = {"stop_reason": self._reason(turn), "stop_sequence": None}
        yield self._event("message_delta", delta=end, usage={"output_tokens": OUTPUT_TOKENS})
        yield self._event("message_stop")

    def _event(self, name: str, **data: Any) -> Event:
        return Event(name, {"type": name, **data})

    def _head(self, number: int, body: Json) -> Json:
        return {
            "id": f"msg_{number}",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "stop_reason": None,
            "stop_sequence": None,
        }

    def _blocks(self, turn: Turn, number: int) -> list[Json]:
        text = [{"type": "text", "text": turn.text}] if turn.text else []
        return text + [
            {"type": "tool_use", "id": f"toolu_{number}_{i}", "name": c.name, "input": json.loads(c.text)}
            for i, c in enumerate(turn.calls)
        ]

    def _reason(self, turn: Turn) -> str:
        return "tool_use" if turn.calls else "end_turn"


WIRES: Final[Mapping[WireName, Wire]] = {wire.name: wire for wire in (ChatWire(), ResponsesWire(), MessagesWire())}


def _after_last(items: list[Json], is_model: Callable[[Json], bool]) -> list[Json]:
    places = [place for place, item in enumerate(items) if is_model(item)]
    return items[places[-1] + 1 :] if places else items


def _texts(contents: Iterable[Any]) -> str:
    return "\n".join(text for content in contents if (text := _text(content)))


def _text(content: Any) -> str:
    """Text of a string or of a list of parts; results inside parts are not text of the user."""
    if isinstance(content, str):
        return content
    parts: list[Json] = content or []
    return "\n".join(part["text"] for part in parts if "text" in part)


def _pieces(text: str) -> list[str]:
    return [text[start : start + _PIECE] for start in range(0, len(text), _PIECE)]
