"""The house rules of the tree: imports point down, one door per library, no circles, no big rooms."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]

# A folder may import what stands on a lower floor, and itself; on floor 1 each folder imports only the ground.
FLOOR = {
    "stoa": 0,
    "eventlog": 1,
    "kit": 1,
    "pool": 1,
    "embedding": 1,
    "servers": 2,
    "host": 2,
    "gateway": 3,
    "evals": 3,
}

# A heavy library comes in by one or two doors; everyone else asks the room behind it.
DOOR = {
    "fastmcp": {"kit/author.py", "kit/call_tool.py", "kit/read.py"},
    "pydantic_ai": {"host/llm/"},
    "openai": {"host/llm/"},
    "anthropic": {"host/llm/"},
    "genai_prices": {"host/llm/"},
    "mcp": {"kit/", "pool/wire/", "pool/login/flow.py", "gateway/"},
    "mcp_types": {"kit/", "pool/wire/", "gateway/"},
    "starlette": {"kit/"},
    "uvicorn": {"kit/"},
    "prometheus_client": {"kit/"},
    "jwt": {"kit/"},
    "websockets": {"pool/wire/websocket.py"},
    "httpx2": {"pool/wire/", "pool/login/", "kit/upstream_http.py"},
    "httpx": {"kit/jwks.py"},
    "typer": {"host/"},
    "rich": {"host/"},
    "sqlmodel": {"servers/content/"},
    "sqlalchemy": {"servers/content/"},
    "selectolax": {"servers/content/formats/"},
    "html_to_markdown": {"servers/content/formats/"},
    "pypdfium2": {"servers/content/formats/"},
    "markdown_it": {"servers/content/formats/"},
    "docutils": {"servers/content/formats/"},
    "lxml": {"servers/content/formats/"},
    "snowballstemmer": {"host/", "pool/finding/", "servers/content/"},
    "numpy": {"embedding/", "pool/finding/"},
    "onnxruntime": {"embedding/"},
    "tokenizers": {"embedding/"},
    "safetensors": {"embedding/"},
    "orjson": {"eventlog/"},
    "jsonschema_rs": {"eventlog/schemas.py"},
    "asyncpg": {"eventlog/postgres/"},
    "cryptography": {"eventlog/subjects/"},
    "backports": {"eventlog/"},
    "nats": {"eventlog/bus/"},
    "redis": {"eventlog/bus/"},
}
WIDEST_DOOR = 2  # how many rooms may share a door that is given as a folder; WIDE names the exceptions
WIDE: dict[str, int] = {}

MAX_LINES = 400  # a hint that a second room wants a name; OVER lists the rooms that may be larger, each with its reason
OVER: dict[str, int] = {}


@cache
def rooms() -> dict[str, ast.Module]:
    files = (path for folder in FLOOR for path in sorted((ROOT / folder).rglob("*.py")))
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text("utf-8")) for path in files}


def imports(room: str) -> Iterator[str]:
    """Every name that a room imports, also inside a function or under TYPE_CHECKING or through importlib."""
    for node in ast.walk(rooms()[room]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{room}: absolute imports only"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"import_module", "importlib.import_module"}:
            match node.args:
                case [ast.Constant(value=str(name)), *_]:
                    yield name
                case _:
                    pass


def composes(room: str) -> bool:
    return room.rpartition("/")[2] in {"__main__.py", "app.py"}


def may_import(room: str, name: str) -> bool:
    here, there = room.split("/"), name.split(".")
    if there[0] in {"tests", "benchmarks"}:
        return False
    if there[0] not in FLOOR:
        return True
    if there[0] == "servers":  # a server is reached over MCP, found by entry point
        return here[0] == "servers" and there[1:2] == here[1:2]
    if composes(room):
        return True
    if (here[0], there[0]) == ("servers", "pool"):
        return False
    return here[0] == there[0] or FLOOR[there[0]] < FLOOR[here[0]]


def test_every_import_points_down() -> None:
    assert [f"{room} -> {name}" for room in rooms() for name in imports(room) if not may_import(room, name)] == []


def test_a_heavy_library_comes_in_by_its_door() -> None:
    found = [(room, name) for room in rooms() for name in imports(room) if name.split(".")[0] in DOOR]
    astray = [f"{room} -> {name}" for room, name in found if not room.startswith(tuple(DOOR[name.split(".")[0]]))]
    assert astray == []


def test_only_composing_rooms_of_the_host_know_the_kit() -> None:
    found = {room for room in rooms() if room.startswith("host/") for name in imports(room) if name.startswith("kit.")}
    assert {room for room in found if not composes(room)} == set()


def test_no_files_import_each_other_in_a_circle() -> None:
    module = {room: room.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for room in rooms()}
    known = set(module.values())
    edges = {
        name: {n if n in known else n.rpartition(".")[0] for n in imports(room)} & known - {name}
        for room, name in module.items()
    }
    while edges:  # peel what imports nothing and what nobody imports; a circle is what stays
        wanted = {n for out in edges.values() for n in out}
        loose = {name for name, out in edges.items() if not out or name not in wanted}
        if not loose:
            break
        edges = {name: out - loose for name, out in edges.items() if name not in loose}
    assert sorted(edges) == []


def test_no_room_is_too_big() -> None:
    sizes = {room: (ROOT / room).read_text("utf-8").count("\n") for room in rooms()}
    assert {room: lines for room, lines in sizes.items() if lines > OVER.get(room, MAX_LINES)} == {}


def test_every_room_says_what_lives_in_it() -> None:
    silent = [room for room, tree in rooms().items() if ast.get_docstring(tree) is None]
    assert [room for room in silent if (ROOT / room).stat().st_size] == []
