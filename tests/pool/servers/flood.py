"""A server of the handshake era that says too much: `python flood.py WHAT`, where a call of `flood` begins it."""

import json
import sys
import time

WHAT = sys.argv[1]
INFO = {"name": "flood", "version": "0.0.1"}


def send(message: dict[str, object]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def flood() -> None:
    if WHAT == "asks":  # and never reads an answer
        number = 0
        while number < 20_000:
            number += 1
            send({"id": f"q{number}" + "x" * 500, "method": "elicitation/create", "params": {"message": "?"}})
        send({"method": "notifications/done"})
        time.sleep(600)
    if WHAT == "blank":
        while True:
            sys.stdout.write("\n" * 2**16)
    if WHAT == "logs":
        while True:
            send({"method": "notifications/message", "params": {"level": "info", "data": "x" * 2**20}})


for line in sys.stdin:
    message = json.loads(line)
    method, id = message.get("method"), message.get("id")
    if method == "initialize":
        abilities: dict[str, object] = {"tools": {}}
        send({"id": id, "result": {"protocolVersion": "2025-11-25", "capabilities": abilities, "serverInfo": INFO}})
    elif method == "tools/list":
        send({"id": id, "result": {"tools": [{"name": "flood", "inputSchema": {"type": "object"}}]}})
    elif method == "tools/call":
        flood()
    elif id is not None:
        send({"id": id, "error": {"code": -32601, "message": "Method not found"}})
