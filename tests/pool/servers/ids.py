"""A server of the handshake era that answers a call to many ids at once: its own first, then others, then again."""

import json
import sys
from typing import Any

INFO = {"name": "ids", "version": "0.0.1"}


def send(*messages: dict[str, Any]) -> None:
    sys.stdout.write("".join(json.dumps({"jsonrpc": "2.0", **message}) + "\n" for message in messages))
    sys.stdout.flush()


def text(words: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": words}]}


for line in sys.stdin:
    message = json.loads(line)
    method, id = message.get("method"), message.get("id")
    if method == "initialize":
        send({"id": id, "result": {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": INFO}})
    elif method == "tools/call" and message["params"]["name"] == "neither":
        send({"id": id, "result": "no object"})
    elif method == "tools/call":
        wrong = (None, True, id + 1, id - 1, 0, -1, 10**400, [id], {"a": 1}, "x", 1e308, "9" * 5000)
        right = {"number": id, "float": float(id), "text": str(id)}[message["params"]["name"]]
        others = [{"id": other, "result": text("wrong")} for other in wrong]
        send(*others, {"id": right, "result": text("right")}, {"id": id, "result": text("wrong")})
    elif id is not None:
        send({"id": id, "error": {"code": -32601, "message": "Method not found"}})
