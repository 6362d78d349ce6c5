"""The command line: what each command is called, takes and says about itself. The work is done in other rooms.

Nothing heavy is imported here at the top: `stoa --help` has to answer at once.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from host import cli_events
from host.plain_help import Command, Group
from host.session import INTERRUPTED, OK, Session

if TYPE_CHECKING:
    from host.app import Workspace
    from stoa.settings import Settings

__all__ = ["app"]

app = typer.Typer(
    name="stoa",
    cls=Group,
    help="MCP servers, a pool that drives them, and a host that answers from your own documents.",
    no_args_is_help=False,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(cli_events.runs, name="runs", rich_help_panel="Work")
app.add_typer(cli_events.events, name="events", rich_help_panel="Event log")

Server = Annotated[str, typer.Argument(help="Name of a server, as `stoa servers` lists it.")]
Servers = Annotated[
    list[str] | None, typer.Option("--server", help="Only this server; may be given several times.", metavar="NAME")
]
Client = Annotated[
    Literal["claude-desktop", "claude-code", "cursor", "vscode"], typer.Argument(help="The program to configure.")
]
Project = Annotated[bool, typer.Option("--project", help="The file of the present folder, not that of all projects.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would change, and write nothing.")]
Host = Annotated[
    str, typer.Option(metavar="ADDRESS", help="Address to listen on. Others than loopback need STOA_AUTH_… to be set.")
]


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The mcp.json to use; else ./mcp.json, STOA_HOME/mcp.json, every installed server."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Print tracebacks and more of the log.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    session = _session(context)
    session.config, session.as_json, session.verbose = config, as_json, verbose
    if version:
        from stoa import __version__

        session.output.document({"version": __version__}, lambda console: console.print(f"stoa {__version__}"))
        raise typer.Exit(OK)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(cls=Command, rich_help_panel="Servers")
def serve(
    context: typer.Context,
    server: Annotated[str, typer.Argument(help="Name of an installed server, e.g. content.")],
    transport: Annotated[
        Literal["stdio", "http", "ws"], typer.Option(help="http and ws serve both: /mcp and /mcp/ws.")
    ] = "stdio",
    host: Host = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, metavar="PORT", help="Else the server's own port.")
    ] = None,
    root: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="A folder that the server may read; may be given several times."),
    ] = None,
    force_root: Annotated[bool, typer.Option("--force-root", help="Allow / and the home folder as roots.")] = False,
) -> None:
    """Serve one server on stdio, HTTP or WebSocket."""
    import os

    from host.announce import Announcer
    from host.app import load_settings, serve_one, with_roots
    from stoa.errors import BadInput

    if transport == "stdio" and port is not None:
        raise BadInput("--port means nothing on stdio.", hint="Add --transport http.")
    if transport == "stdio":
        _tell_a_person(context)
    settings = with_roots(load_settings(os.environ), root or (), force=force_root)
    say = Announcer([server], _session(context))
    serve_one(server, _louder(context, settings), transport=transport, host=host, port=port, say=say)


@app.command(cls=Command, rich_help_panel="Servers")
def up(
    context: typer.Context,
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="PORT", help="0 takes a free one.")] = 8080,
) -> None:
    """Serve everything of mcp.json over HTTP and WebSocket: together at /mcp, Stoa's own servers each for itself."""
    from host.announce import Announcer
    from host.app import serve_all
    from host.launch import launches

    work = _workspace(context)
    ours = [launch.name for launch in launches(work.groups, folder=Path.cwd())]
    say = Announcer(ours, _session(context), has_gateway=True)
    serve_all(work, _louder(context, work.settings), host=host, port=port, say=say)


@app.command(cls=Command, rich_help_panel="Servers")
def gateway(
    context: typer.Context,
    server: Servers = None,
    no_prefix: Annotated[
        bool, typer.Option("--no-prefix", help="Leave the names of tools as they are; for one server only.")
    ] = False,
    list_all: Annotated[
        bool, typer.Option("--list-all", help="List every tool, however many there are, instead of a search.")
    ] = False,
    search_above: Annotated[
        int, typer.Option(min=0, metavar="N", help="List a search instead of the tools above so many.")
    ] = 30,
    pin: Annotated[
        list[str] | None,
        typer.Option(metavar="TOOL", help="List this tool beside the search, too; may be given several times."),
    ] = None,
    transport: Annotated[
        Literal["stdio", "http", "ws"], typer.Option(help="http and ws serve both: /mcp and /mcp/ws.")
    ] = "stdio",
    host: Host = "127.0.0.1",
    port: Annotated[int | None, typer.Option(min=0, max=65535, metavar="PORT", help="Else 8080.")] = None,
) -> None:
    """Serve all servers of mcp.json as one, with a pool behind it."""
    from host.announce import Announcer
    from host.app import serve_gateway
    from stoa.errors import BadInput

    if transport == "stdio" and port is not None:
        raise BadInput("--port means nothing on stdio.", hint="Add --transport http.")
    if transport == "stdio":
        _tell_a_person(context)
    work = _workspace(context)
    choice = {
        "servers": tuple(server or ()),
        "no_prefix": no_prefix,
        "list_all": list_all,
        "search_above": search_above,
        "pinned": tuple(pin or ()),
    }
    say = Announcer((), _session(context), has_gateway=True)
    settings = _louder(context, work.settings)
    serve_gateway(work, settings, choice, transport=transport, host=host, port=port, say=say)


@app.command(cls=Command, rich_help_panel="Servers")
def servers(context: typer.Context, name: Annotated[str | None, typer.Argument(help="Only this one.")] = None) -> int:
    """List servers: state, protocol era, version, latency."""
    from host.commands.look import list_servers

    return list_servers(_workspace(context), _session(context).output, name)


@app.command(cls=Command, rich_help_panel="Servers")
def login(
    context: typer.Context,
    server: Server,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the address; it is printed, too.")
    ] = True,
    scope: Annotated[str | None, typer.Option(metavar="WORDS", help="Scopes to ask for, in quotes.")] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, metavar="PORT", help="Loopback port that the browser comes back to; else any."),
    ] = None,
) -> int:
    """Log in to a server that asks for OAuth; the tokens are kept in STOA_HOME."""
    from host.commands.login import log_in_to

    return log_in_to(_workspace(context), _session(context).output, server, browser=browser, scope=scope, port=port)


@app.command(cls=Command, rich_help_panel="Servers")
def logout(context: typer.Context, server: Server) -> int:
    """Forget the login to a server."""
    from host.commands.login import log_out_of

    return log_out_of(_workspace(context), _session(context).output, server)


@app.command(cls=Command, rich_help_panel="Tools")
def tools(
    context: typer.Context,
    query: Annotated[str | None, typer.Argument(help="Words to rank the tools by.")] = None,
    server: Servers = None,
) -> int:
    """List tools, the best first when a query is given."""
    from host.commands.look import list_tools

    return list_tools(_workspace(context), _session(context).output, query, server or ())


@app.command(cls=Command, rich_help_panel="Tools")
def call(
    context: typer.Context,
    tool: Annotated[str, typer.Argument(metavar="SERVER.TOOL", help="As `stoa tools` lists it.")],
    words: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Arguments, typed by the tool's schema.")
    ] = None,
    args: Annotated[str | None, typer.Option(metavar="JSON", help="All arguments as one JSON object.")] = None,
) -> int:
    """Call one tool and print its structured result."""
    from host.commands.look import call_tool

    return call_tool(_workspace(context), _session(context).output, tool, words or (), args)


@app.command(cls=Command, rich_help_panel="Work")
def ingest(
    context: typer.Context,
    paths: Annotated[  # what cannot be read is reported beside the others, not refused here
        list[Path] | None, typer.Argument(metavar="PATH", readable=False, help="Files and folders.")
    ] = None,
    installed: Annotated[
        bool, typer.Option("--installed", help="The descriptions of the Python packages installed beside Stoa.")
    ] = False,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="TAG", help="Put this tag on every document; may be repeated.")
    ] = None,
) -> int:
    """Read documents and send them to the content server."""
    from host.commands.bring import ingest_all
    from stoa.errors import BadInput

    if not paths and not installed:
        raise BadInput("Nothing to ingest is named.", hint="Give files or folders, or --installed.")
    code = ingest_all(_workspace(context), _session(context).output, paths or (), installed=installed, tags=tag or ())
    _session(context).has_answered = code == INTERRUPTED
    return code


@app.command(cls=Command, rich_help_panel="Work")
def run(
    context: typer.Context,
    task: Annotated[list[str], typer.Argument(metavar="TASK", help="A question or a task, in quotes.")],
    server: Servers = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="planner, openai[:NAME], anthropic[:NAME] or openai-compatible:URL#NAME."),
    ] = None,
    planner: Annotated[bool, typer.Option("--planner", help="No model, also when keys are set.")] = False,
    allow_writes: Annotated[
        bool, typer.Option("--allow-writes", help="Let a model call tools that change something, too.")
    ] = False,
) -> int:
    """Do a task with the tools of the servers, and cite what was used."""
    from host.commands.work import run_task
    from stoa.errors import BadInput

    if planner and model not in (None, "planner"):
        raise BadInput(f"--planner and --model {model!r} contradict each other.", hint="Give one of them.")
    if len(task) > 1:
        raise BadInput("The task stands on the line as several words.", hint=f"Put the task in quotes: {_quoted(task)}")
    said = task[0].strip()
    if not said:
        raise BadInput("The task is empty.", hint='Write it in quotes: stoa run "How do I …?"')
    chosen = "planner" if planner else model
    return run_task(
        _workspace(context), _session(context).output, said, server or (), chosen, allow_writes=allow_writes
    )


@app.command(cls=Command, rich_help_panel="Set-up")
def config(
    context: typer.Context,
    client: Client,
) -> None:
    """Print an entry for another MCP client, ready to be pasted."""
    from host.app import start_command
    from host.client_config import entry, where_to_paste

    work, output = _workspace(context), _session(context).output
    launches = work.ours()
    home = work.settings.home.absolute()
    output.json(entry(client, launches, command=start_command(), home=home, environ=work.environ))
    output.note(where_to_paste(client, sys.platform))


@app.command(cls=Command, rich_help_panel="Set-up")
def install(
    context: typer.Context,
    client: Client,
    server: Servers = None,
    name: Annotated[str, typer.Option(metavar="NAME", help="What the client is to call it.")] = "stoa",
    project: Project = False,
    dry_run: DryRun = False,
) -> int:
    """Give another MCP client the gateway: write the entry into its file."""
    from host.commands.install import install

    work, output = _workspace(context), _session(context).output
    return install(work, output, client, name=name, servers=server or (), project=project, dry_run=dry_run)


@app.command(cls=Command, rich_help_panel="Set-up")
def uninstall(
    context: typer.Context,
    client: Client,
    name: Annotated[str, typer.Option(metavar="NAME", help="What the client calls it.")] = "stoa",
    project: Project = False,
    dry_run: DryRun = False,
) -> int:
    """Take the gateway's entry out of another MCP client's file."""
    import os

    from host.commands.install import uninstall

    return uninstall(os.environ, _session(context).output, client, name=name, project=project, dry_run=dry_run)


@app.command(cls=Command, rich_help_panel="Set-up")
def doctor(context: typer.Context) -> int:
    """Check Python, disk, event log, ports, keys and extras; say what to do."""
    from host.commands.look import examine_all

    session = _session(context)
    return examine_all(session.config, session.output)


def _tell_a_person(context: typer.Context) -> None:
    """Whoever starts a stdio server by hand would wait for ever, and not know for what."""
    if sys.stdin is not None and sys.stdin.isatty():
        said = "This speaks MCP on stdin and stdout, for a client that starts it: see `stoa install`. Ctrl-C ends it;"
        _session(context).output.note(f"{said} --transport http serves on a port.")


def _quoted(words: list[str]) -> str:
    """`stoa run` with the words as one task, as it has to be typed."""
    import shlex

    task = " ".join(words)
    is_plain = not set(task) & set('"$`!\\')
    return "stoa run " + (f'"{task}"' if is_plain else shlex.quote(task))


def _session(context: typer.Context) -> Session:
    session = context.find_root().obj
    assert isinstance(session, Session)
    return session


def _workspace(context: typer.Context) -> "Workspace":
    import os

    from host.app import open_workspace

    return open_workspace(_session(context).config, os.environ, folder=Path.cwd())


def _louder(context: typer.Context, settings: "Settings") -> "Settings":
    """--verbose, for servers: the log of what they do."""
    return settings.model_copy(update={"log_level": "INFO"}) if _session(context).verbose else settings
