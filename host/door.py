"""From words on the command line to an exit code; every failure leaves here as one short block, never a traceback.

Exit codes: 0 done, 1 a tool or a run answered with an error, 2 bad input or configuration, 3 something needed is
away, 130 interrupted.
"""

import sys
import traceback
from collections.abc import Sequence
from typing import cast

from typer import Abort
from typer.exceptions import TyperException

from host.cli import app
from host.session import BAD_INPUT, INTERRUPTED, OK, TOOL_FAILED, UNAVAILABLE, Session, exit_code
from host.streams import Unwritable, give_up_stdout, has_streams
from stoa.errors import BadInput, Fault, StoaError, Unavailable

__all__ = ["hoist", "run_command"]

_FLAGS = ("--json", "--verbose")
_VALUED = ("--config",)


def run_command(argv: Sequence[str]) -> int:
    """Do what the words say and return the exit code."""
    if not has_streams():
        return BAD_INPUT
    words = hoist(argv)
    session = Session(as_json="--json" in words[: _globals(words)], verbose="--verbose" in words[: _globals(words)])
    try:
        code = _run(words, session)
        sys.stdout.flush()
    except BrokenPipeError:
        give_up_stdout()  # whoever read us has gone, as `head` does
        return OK
    except (Unwritable, OSError) as error:
        give_up_stdout()
        reason = error.strerror if isinstance(error, OSError) else error
        Session().output.error(Unavailable.code, f"Standard output cannot be written: {reason}.", "")
        return UNAVAILABLE
    return code


def hoist(argv: Sequence[str]) -> list[str]:
    """The words with global options moved to the front, so that they may stand anywhere before `--`."""
    front, rest = list[str](), list[str]()
    words = iter(argv)
    for word in words:
        if word == "--":
            return [*front, *rest, word, *words]
        name, equals, _ = word.partition("=")
        if word in _FLAGS or (name in _VALUED and equals):
            front.append(word)
        elif word in _VALUED:
            front += [word, *(next_word for next_word in [next(words, None)] if next_word is not None)]
        else:
            rest.append(word)
    return front + rest


def _globals(words: Sequence[str]) -> int:
    """How many words stand before the command."""
    at = 0
    while at < len(words) and words[at].startswith("--") and words[at] != "--":
        at += 2 if words[at] in _VALUED else 1
    return at


def _run(words: Sequence[str], session: Session) -> int:
    try:
        code = app(args=list(words), prog_name="stoa", standalone_mode=False, obj=session)
    except TyperException as error:
        said = error.format_message().strip().replace("Value error, ", "")  # pydantic's words, inside typer's
        session.output.error("bad_input", said or "Nothing to do.", f"See `{_command(error)} --help`.")
        return BAD_INPUT
    except SystemExit as error:  # typer's way out when nobody reads any more
        if isinstance(error.__context__, BrokenPipeError):
            raise error.__context__ from None
        return error.code if isinstance(error.code, int) else TOOL_FAILED
    except (KeyboardInterrupt, Abort):
        code = INTERRUPTED
    except BaseException as error:  # noqa: BLE001 - the top: whatever comes, people get a sentence and an exit code
        leaf = _leaf(error)
        if isinstance(leaf, BrokenPipeError | Unwritable):
            raise leaf from None
        if session.verbose:
            traceback.print_exception(error)
        if not isinstance(leaf, KeyboardInterrupt):
            known = leaf if isinstance(leaf, StoaError) else _unforeseen(leaf)
            session.output.failure(known)
            return exit_code(known)
        code = INTERRUPTED
    if code == INTERRUPTED and not session.has_answered:
        session.output.error("interrupted", "Interrupted.", "")
    return code if isinstance(code, int) else OK


def _leaf(error: BaseException) -> BaseException:
    """The error that a task group has wrapped; ours first, then whatever is there."""
    leaves = list(_leaves(error))
    ours = [leaf for leaf in leaves if isinstance(leaf, StoaError | KeyboardInterrupt)]
    return (ours or leaves)[0]


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return [leaf for each in group.exceptions for leaf in _leaves(each)]
    return [error]


def _unforeseen(error: BaseException) -> StoaError:
    if isinstance(error, OSError):
        where = f" {error.filename!r}" if error.filename is not None else ""
        return BadInput(f"The system refused{where}: {error.strerror or error}.", hint="Run it again with --verbose.")
    return Fault(
        f"Something went wrong inside Stoa ({type(error).__name__}).", hint="Run it again with --verbose and report it."
    )


def _command(error: TyperException) -> str:
    context = getattr(error, "ctx", None)
    return str(getattr(context, "command_path", "stoa")) if context is not None else "stoa"
