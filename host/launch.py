"""How a server of ours is started by a configuration: `stoa serve NAME …` or `python -m servers.NAME …`. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pool.spec import GroupSpec, StdioSpec

__all__ = ["Launch", "launches"]

_ROOT = "--root"


@dataclass(frozen=True, slots=True)
class Launch:
    """`name` is what the configuration calls it, `server` what it is; `args` are the words behind `stoa serve NAME`.

    `env` is what the configuration sets for it, `folder` where relative paths begin.
    """

    name: str
    server: str
    args: tuple[str, ...]
    env: Mapping[str, str]
    folder: Path

    @property
    def roots(self) -> tuple[Path, ...]:
        """The folders given with `--root`, absolute."""
        values = (word for is_value, word in _marked(self.args) if is_value)
        return tuple(self.folder / value for value in values)

    @property
    def forces_roots(self) -> bool:
        return "--force-root" in self.args

    def anywhere(self) -> "Launch":
        """The same, with roots that mean the same in any folder."""
        words: list[str] = []
        for is_value, word in _marked(self.args):
            words += [_ROOT, str(self.folder / word)] if is_value else [word]
        return replace(self, args=tuple(words))


def launches(groups: Iterable[GroupSpec], *, folder: Path) -> tuple[Launch, ...]:
    """The servers of ours among the groups; a group's first member stands for all. `folder` is the present one."""
    found: list[Launch] = []
    for group in groups:
        member = group.members[0]
        if isinstance(member, StdioSpec) and (words := _serving(member)):
            here = folder / member.cwd if member.cwd is not None else folder
            found.append(Launch(group.name, words[0], words[1:], member.env, here))
    return tuple(found)


def _serving(member: StdioSpec) -> tuple[str, ...]:
    """The server's name and what stands behind it; empty when the command is none of ours."""
    match (Path(member.command).stem.lower(), *member.args):
        case ("stoa", "serve", str(name), *rest):
            return (name, *rest)
        case (python, "-m", str(module), *rest) if python.startswith("python") and module.startswith("servers."):
            return (module.removeprefix("servers."), *rest)
        case _:
            return ()


def _marked(args: tuple[str, ...]) -> Iterator[tuple[bool, str]]:
    """The words, the values of `--root` marked and the option itself left out."""
    words = iter(args)
    for word in words:
        name, equals, value = word.partition("=")
        if name != _ROOT:
            yield False, word
        elif equals:
            yield True, value
        else:
            yield from ((True, value) for value in [next(words, None)] if value is not None)
