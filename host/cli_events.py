"""The commands `stoa events …` and `stoa runs …`: what they are called, take and say about themselves.

As in `host.cli`, nothing heavy is imported at the top, and the work is done in other rooms.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from host.plain_help import Command, Group
from host.session import OK, Session

if TYPE_CHECKING:
    from eventlog.event import StreamId
    from host.output import Output
    from stoa.settings import Settings

__all__ = ["events", "runs"]

events = typer.Typer(cls=Group, help="Look into the event log, verify it, and carry it elsewhere.")
subjects = typer.Typer(cls=Group, help="What the log holds about a person: hand it out, or erase it.")
runs = typer.Typer(cls=Group, help="What `stoa run` did: each step, read back from the log.")
events.add_typer(subjects, name="subjects", rich_help_panel="Keeping")

Stream = Annotated[str, typer.Argument(metavar="STREAM", help="Name of a stream, for instance run-01J8….")]
Tenant = Annotated[str | None, typer.Option(metavar="NAME", help="Of this tenant; else `default`.")]
AllTenants = Annotated[bool, typer.Option("--all-tenants", help="Of all tenants.")]
Types = Annotated[
    list[str] | None,
    typer.Option("--type", metavar="TYPE", help="Only this type, or `order.*`; may be given several times."),
]
Full = Annotated[bool, typer.Option("--full", help="Whole data, metadata and checksum of each event.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]
At = "A version (12), a position (@345), a time (2026-01-31T12:00Z), or how long ago (2h)."


@events.callback(invoke_without_command=True)
@subjects.callback(invoke_without_command=True)
@runs.callback(invoke_without_command=True)
def help_alone(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(OK)


@events.command(cls=Command, rich_help_panel="Looking")
def tail(
    context: typer.Context,
    number: Annotated[int, typer.Option("-n", min=0, max=10_000, metavar="N", help="How many of the newest.")] = 20,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what comes; Ctrl-C ends it. --json: a line each.")
    ] = False,
    type: Types = None,
    stream: Annotated[str | None, typer.Option(metavar="PREFIX", help="Only of streams whose names begin so.")] = None,
    correlation: Annotated[
        str | None, typer.Option(metavar="ID", help="Only what one run or request has caused.")
    ] = None,
    tenant: Tenant = None,
    all_tenants: AllTenants = False,
    full: Full = False,
) -> int:
    """Show the newest events, and those that come."""
    from host.commands.events import Which, tail

    which = Which(_tenants(tenant, all_tenants), tuple(type or ()), stream, correlation)
    return tail(*_work(context), which, most=number, follow=follow, full=full)


@events.command(cls=Command, rich_help_panel="Looking")
def show(
    context: typer.Context,
    stream: Stream,
    first: Annotated[int, typer.Option("--from", min=1, metavar="VERSION", help="The first version to show.")] = 1,
    last: Annotated[
        int | None, typer.Option("--to", min=1, metavar="VERSION", help="The last version to show.")
    ] = None,
    backwards: Annotated[bool, typer.Option("--backwards", help="The newest first.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000, metavar="N", help="At most so many.")] = 1_000,
    full: Full = False,
    tenant: Tenant = None,
) -> int:
    """Show the events of one stream."""
    from host.commands.events import show

    return show(
        *_work(context),
        _stream(stream, tenant),
        first=first,
        last=last,
        backwards=backwards,
        most=limit,
        full=full,
    )


@events.command(cls=Command, rich_help_panel="Looking")
def state(
    context: typer.Context,
    stream: Annotated[str | None, typer.Argument(metavar="STREAM", help="Name of a stream.")] = None,
    at: Annotated[str | None, typer.Option(metavar="WHEN", help=f"{At} Else now.")] = None,
    diff: Annotated[
        tuple[str, str] | None, typer.Option(metavar="WHEN WHEN", help="What changed between the two.")
    ] = None,
    projection: Annotated[
        str | None, typer.Option(metavar="NAME", help="The documents of this projection, not a stream.")
    ] = None,
    prefix: Annotated[
        str, typer.Option(metavar="TEXT", help="With --projection: only documents whose keys begin so.")
    ] = "",
    tenant: Tenant = None,
) -> int:
    """Show what a stream or a projection added up to, now or then."""
    from host.commands.events_time import Subject, diff_of, state_of
    from stoa.errors import BadInput

    if at is not None and diff is not None:
        raise BadInput("--at and --diff contradict each other.", hint="Give one of them.")
    if (stream is None) == (projection is None):
        raise BadInput("One thing is to be shown: a stream or a projection.", hint="Give STREAM or --projection NAME.")
    subject = Subject(_tenant(tenant), stream, projection, prefix)
    if diff is not None:
        return diff_of(*_work(context), subject, *diff)
    return state_of(*_work(context), subject, at)


@events.command(cls=Command, rich_help_panel="Looking")
def replay(
    context: typer.Context,
    after: Annotated[int, typer.Option(min=0, metavar="POSITION", help="Begin behind this position.")] = 0,
    until: Annotated[
        str | None, typer.Option(metavar="WHEN", help="End with this position (@345) or time. Else at the end.")
    ] = None,
    type: Types = None,
    projection: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Fold them into this projection; else into what each stream adds up to."),
    ] = None,
    tenant: Tenant = None,
) -> int:
    """Run the events again through a sandbox, and show what they add up to. Nothing is written."""
    from host.commands.events_time import replay

    return replay(
        *_work(context),
        _tenant(tenant),
        after=after,
        until=until,
        types=tuple(type or ()),
        projection=projection,
    )


@events.command(cls=Command, rich_help_panel="Projections")
def projections(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Only this one, closely.")] = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Build it anew, beside the one that serves.")] = False,
    pause: Annotated[
        bool | None, typer.Option("--pause/--resume", help="No process works on it, until it is resumed.")
    ] = None,
) -> int:
    """List projections: how far each is, and what it lags; build one anew, pause it."""
    from host.commands.events_projections import list_projections, pause_projection, rebuild_projection
    from stoa.errors import BadInput

    if rebuild and pause is not None:
        raise BadInput("--rebuild goes with neither --pause nor --resume.", hint="Give one of them.")
    if name is None and (rebuild or pause is not None):
        raise BadInput("The name of a projection is missing.", hint="`stoa events projections` lists them.")
    if rebuild and name is not None:
        return rebuild_projection(*_work(context), name)
    if pause is not None and name is not None:
        return pause_projection(*_work(context), name, is_paused=pause)
    return list_projections(*_work(context), name)


@events.command("dead-letters", cls=Command, rich_help_panel="Projections")
def dead_letters(
    context: typer.Context,
    projection: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this projection.")] = None,
    retry: Annotated[
        str | None, typer.Option(metavar="ID", help="Apply this one again, and what waits behind it.")
    ] = None,
    purge: Annotated[bool, typer.Option("--purge", help="Give up those of --projection for good.")] = False,
    subscription: Annotated[
        str | None, typer.Option(metavar="NAME", help="Those of a subscription of the bus, not of a projection.")
    ] = None,
    tenant: Tenant = None,
    all_tenants: AllTenants = False,
    yes: Yes = False,
) -> int:
    """List events that could not be applied; try one again, or give them up."""
    from host.commands.events_projections import list_dead_letters, purge_dead_letters, retry_dead_letter
    from stoa.errors import BadInput

    if retry is not None and purge:
        raise BadInput("--retry and --purge contradict each other.", hint="Give one of them.")
    if subscription is not None:
        from host.commands.events_bus import list_letters, purge_letters

        if projection is not None or retry is not None or all_tenants:
            raise BadInput(
                "--subscription goes with --purge and --tenant alone.",
                hint="What a subscriber does with an event is in its own program: try it again there.",
            )
        if purge:
            return purge_letters(*_work(context), subscription, _tenant(tenant), yes=yes)
        return list_letters(*_work(context), subscription, _tenant(tenant))
    whose = _tenants(tenant, all_tenants)
    if retry is not None:
        return retry_dead_letter(*_work(context), projection, retry, whose)
    if purge:
        return purge_dead_letters(*_work(context), projection, whose, yes=yes)
    return list_dead_letters(*_work(context), projection, whose)


@events.command(cls=Command, rich_help_panel="Keeping")
def verify(
    context: typer.Context,
    tenant: Annotated[str | None, typer.Option(metavar="NAME", help="Only this tenant's streams; else all.")] = None,
    after: Annotated[int, typer.Option(min=0, metavar="POSITION", help="Begin behind this position.")] = 0,
) -> int:
    """Compute every checksum again, and what snapshots stand for.

    Exit code 1 when the log is not as it was written.
    """
    from host.commands.events_keep import verify

    return verify(*_work(context), tenant=tenant, after=after)


@events.command(cls=Command, rich_help_panel="Keeping")
def snapshot(context: typer.Context, stream: Stream, tenant: Tenant = None) -> int:
    """Keep what a stream adds up to now, so that it is loaded faster and may be truncated."""
    from host.commands.events_time import snapshot

    return snapshot(*_work(context), _stream(stream, tenant))


@events.command(cls=Command, rich_help_panel="Keeping")
def truncate(
    context: typer.Context,
    stream: Stream,
    before: Annotated[int, typer.Option(min=1, metavar="VERSION", help="The oldest version that stays.")],
    tenant: Tenant = None,
    yes: Yes = False,
) -> int:
    """Remove the oldest events of a stream for good, where a snapshot stands for them."""
    from host.commands.events_keep import truncate

    return truncate(*_work(context), _stream(stream, tenant), before=before, yes=yes)


@events.command(cls=Command, rich_help_panel="Keeping")
def erase(
    context: typer.Context,
    stream: Stream,
    version: Annotated[
        list[int] | None,
        typer.Option(min=1, metavar="VERSION", help="Only this event; may be given several times. Else all."),
    ] = None,
    tenant: Tenant = None,
    yes: Yes = False,
) -> int:
    """Remove what events of a stream say, for good; that they were there stays."""
    from host.commands.events_keep import erase

    return erase(*_work(context), _stream(stream, tenant), versions=tuple(version or ()), yes=yes)


@events.command("export", cls=Command, rich_help_panel="Keeping")
def export_file(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Written as JSON lines; goes on where it stopped.")],
    type: Types = None,
    stream: Annotated[str | None, typer.Option(metavar="PREFIX", help="Only of streams whose names begin so.")] = None,
    tenant: Tenant = None,
    all_tenants: AllTenants = False,
) -> int:
    """Write events to a file, with a checksum; the same command again goes on."""
    from host.commands.events import Which
    from host.commands.events_keep import export_to

    return export_to(*_work(context), file, Which(_tenants(tenant, all_tenants), tuple(type or ()), stream))


@events.command("import", cls=Command, rich_help_panel="Keeping")
def import_file(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="As `stoa events export` wrote it.")],
    tenant: Tenant = None,
    all_tenants: AllTenants = False,
) -> int:
    """Check a file of events, then append what is not there yet."""
    from host.commands.events_keep import import_from

    return import_from(*_work(context), file, _tenants(tenant, all_tenants))


@subjects.command("export", cls=Command)
def export_subject(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="As it was given when the events were appended.")],
    tenant: Tenant = None,
    full: Full = False,
) -> int:
    """Show all that the log holds about a person."""
    from host.commands.events_keep import export_person

    return export_person(*_work(context), name, _tenant(tenant), full=full)


@subjects.command("erase", cls=Command)
def erase_subject(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="As it was given when the events were appended.")],
    tenant: Tenant = None,
    yes: Yes = False,
) -> int:
    """Forget a person: destroy the key, then remove what their events say."""
    from host.commands.events_keep import erase_person

    return erase_person(*_work(context), name, _tenant(tenant), yes=yes)


@runs.command("list", cls=Command)
def list_runs(
    context: typer.Context,
    number: Annotated[int, typer.Option("-n", min=1, max=1_000, metavar="N", help="How many of the newest.")] = 20,
) -> int:
    """List the newest runs: when, by whom, how they ended."""
    from host.commands.runs import list_runs

    return list_runs(*_work(context), most=number)


@runs.command("show", cls=Command)
def show_run(
    context: typer.Context,
    run_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="Of a run, or its first letters; else the newest run.")
    ] = None,
) -> int:
    """Show a run again: task, answer, sources, and each step with its time."""
    from host.commands.runs import show_run_of

    return show_run_of(*_work(context), run_id)


def _work(context: typer.Context) -> "tuple[Settings, Output]":
    """The log needs no mcp.json, so that a broken one is no reason not to look into it."""
    import os

    from host.app import load_settings

    session = context.find_root().obj
    assert isinstance(session, Session)
    return load_settings(os.environ), session.output


def _tenant(tenant: str | None) -> str:
    from stoa.principal import LOCAL

    return tenant or LOCAL.tenant


def _tenants(tenant: str | None, all_tenants: bool) -> str | None:
    """None for all of them: whoever may read the file or the database may read all of it."""
    from stoa.errors import BadInput

    if tenant is not None and all_tenants:
        raise BadInput("--tenant and --all-tenants contradict each other.", hint="Give one of them.")
    return None if all_tenants else _tenant(tenant)


def _stream(name: str, tenant: str | None) -> "StreamId":
    from eventlog.event import StreamId
    from eventlog.names import check_stream

    return check_stream(StreamId(_tenant(tenant), name))
