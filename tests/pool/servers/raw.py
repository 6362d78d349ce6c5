"""An MCP server written by hand on the standard library, which starts in no time and misbehaves on request.

It speaks revision 2025-11-25, or 2026-07-28 when told `modern`. Each other argument switches one bad habit on; most
tools are bad habits too.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import cast

HABITS = set(sys.argv[1:])
LOCK = threading.Lock()
CANCELLED: set[object] = set()
EXTRA: list[str] = []

TOOLS = [
    "echo", "pid", "slow", "crash", "never", "garbage", "garbled", "huge", "stderr", "grow", "close_stdout",
    "refuse", "environment", "wrong_shape", "whoami", "half",
]  # fmt: skip


# The first half of an emoji, then a whole one, then an escaped backslash before the same letters.
HALF = r'{"jsonrpc": "2.0", "id": %s, "result": {"content": [{"type": "text", "text": "a\ud83db\ud83d\ude00\\ud83d"}]}}'
INFO = {"name": "raw", "version": "0.0.1"}
CAPABILITIES = {"tools": {"listChanged": "modern" not in HABITS}}


def send(message: dict[str, object]) -> None:
    result = message.get("result")
    if "modern" in HABITS and isinstance(result, dict):
        result["resultType"] = "complete"
        result["_meta"] = {"io.modelcontextprotocol/serverInfo": INFO}
    write(json.dumps({"jsonrpc": "2.0", **message}))


def write(line: str) -> None:
    with LOCK:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def below(message: dict[str, object], key: str) -> dict[str, object]:
    value = message.get(key)
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def text(words: str) -> dict[str, object]:
    return {"content": [{"type": "text", "text": words}]}


def describe(name: str) -> dict[str, object]:
    tool: dict[str, object] = {"name": name, "description": f"Does {name}.", "inputSchema": {"type": "object"}}
    if not name.startswith("write_"):
        tool["annotations"] = {"readOnlyHint": True}
    return tool


def list_tools(params: dict[str, object]) -> dict[str, object]:
    names = [*TOOLS, *(f"write_{name}" for name in ("crash", "slow", "never")), *EXTRA]
    if "pages" in HABITS:
        start = int(str(params.get("cursor", 0)))
        page: dict[str, object] = {"tools": [describe(name) for name in names[start : start + 3]]}
        if start + 3 < len(names):
            page["nextCursor"] = str(start + 3)
        return page
    if "malformed" in HABITS:
        mixed = [{"name": 5}, describe("echo"), "no tool", {"name": "unschematic"}, describe("pid")]
        return {"tools": mixed, "ttlMs": 0, "cacheScope": "private"}
    if "bad-list" in HABITS:
        return {"tools": 5}
    if "endless" in HABITS:
        return {"tools": [describe("echo")], "nextCursor": "again"}
    return {"tools": [describe(name) for name in names], "ttlMs": 0, "cacheScope": "private"}


def call(request: object, params: dict[str, object]) -> None:
    name = str(params["name"]).removeprefix("write_")
    arguments = below(params, "arguments")
    if name == "crash":
        say("about to crash")
        os._exit(3)
    elif name == "never":
        say("not going to answer")
    elif name == "slow":
        threading.Thread(target=slow, args=(request, float(str(arguments["seconds"])), params), daemon=True).start()
    elif name == "close_stdout":
        os.close(1)
    elif name == "refuse":
        send({"id": request, "error": {"code": arguments["code"], "message": "refused"}})
    elif name == "wrong_shape":
        send({"id": request, "result": {"content": "this is no list"}})
    elif name == "half":
        write(HALF % json.dumps(request))
    elif name == "whoami":
        send(
            {
                "id": request,
                "result": {**text("you"), "structuredContent": {"pid": os.getpid(), "meta": params.get("_meta", {})}},
            }
        )
    else:
        send({"id": request, "result": text(answer(name, arguments))})


def answer(name: str, arguments: dict[str, object]) -> str:
    if name == "pid":
        return str(os.getpid())
    if name == "garbage":
        write("this is not JSON")
        write('{"neither": "is this a message"}')
    if name == "garbled":
        for _ in range(2000):
            write("noise")
    if name == "huge":
        return "x" * int(str(arguments["bytes"]))
    if name == "stderr":
        for _ in range(int(str(arguments.get("times", 1)))):
            say(str(arguments["text"]))
    if name == "environment":
        return json.dumps(dict(os.environ))
    if name == "grow":
        EXTRA.append("grown")
        send({"method": "notifications/tools/list_changed"})
    return str(arguments.get("text", name))


def slow(request: object, seconds: float, params: dict[str, object]) -> None:
    token = below(params, "_meta").get("progressToken")
    if token is not None:
        send({"method": "notifications/progress", "params": {"progressToken": token, "progress": 1, "total": 2}})
    end = time.monotonic() + seconds * (10 if "sluggish" in HABITS else 1)
    while time.monotonic() < end:
        if request in CANCELLED:
            say("cancelled")
            return
        time.sleep(0.01)
    send({"id": request, "result": text("slept")})


def handle(message: dict[str, object]) -> None:
    method, request = message.get("method"), message.get("id")
    params = below(message, "params")
    if method == "initialize":
        if "die-at-initialize" in HABITS:
            say("no luck today")
            sys.exit(7)
        shaken = {"protocolVersion": "2025-11-25", "capabilities": CAPABILITIES, "serverInfo": INFO}
        send({"id": request, "result": shaken})
    elif method == "server/discover" and "modern" in HABITS:
        offered = {"supportedVersions": ["2026-07-28"], "capabilities": CAPABILITIES}
        send({"id": request, "result": {**offered, "ttlMs": 0, "cacheScope": "private"}})
    elif method == "tools/list" and "no-list" not in HABITS:
        send({"id": request, "result": list_tools(params)})
    elif method == "tools/call":
        call(request, params)
    elif method == "ping":
        send({"id": request, "result": {}})
    elif method == "notifications/cancelled":
        CANCELLED.add(params.get("requestId"))
    elif request is not None and "no-list" not in HABITS:
        send({"id": request, "error": {"code": -32601, "message": "Method not found"}})


def main() -> None:
    if "ignore-term" in HABITS:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "print-secret" in HABITS:
        say(f"my key is {os.environ['API_KEY']}, my arguments are {' '.join(sys.argv[1:])}")
    if "die-at-start" in HABITS:
        say("cannot find my configuration")
        sys.exit(4)
    if "grandchild" in HABITS:
        sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], stdin=subprocess.DEVNULL)
        say(f"grandchild {sleeper.pid}")
    if "noise-at-start" in HABITS:
        write("Welcome to my server!")
    while "noise-forever" in HABITS:
        write("y")
    while "never-answer" in HABITS:
        time.sleep(1)
    for line in sys.stdin:
        handle(json.loads(line))
    while "ignore-eof" in HABITS:
        time.sleep(1)
    os._exit(0)  # without waiting for slow tools


main()
