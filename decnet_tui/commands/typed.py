"""The ``:`` line: which command a typed line means, what may complete it, and what was typed before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from decnet_tui.commands.base import Command
from decnet_tui.model.keys import key

if TYPE_CHECKING:
    from decnet_tui.commands.context import Context


@dataclass
class History:
    """What was typed in this run, newest last."""

    filters: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)


def split(line: str) -> tuple[str, str]:
    """Name and the rest."""
    name, _, rest = line.strip().partition(" ")
    return name.lower(), rest.strip()


def find(commands: Sequence[Command], name: str) -> Command | None:
    """The command of that name or id, or the only one whose name starts so."""
    exact = [c for c in commands if name in (c.spelled, c.id)]
    starts = [c for c in commands if name and c.spelled.startswith(name)]
    return exact[0] if exact else starts[0] if len(starts) == 1 else None


def run(console: Context, line: str) -> None:
    """Does what a typed line means."""
    name, rest = split(line)
    command = find(console.commands, name)
    if command is None:
        console.say(f"no command {name}; {key('palette')} shows all", bad=True)
    else:
        console.run_command(command, rest)


def problem(commands: Sequence[Command], line: str) -> str:
    """What is wrong with a line; empty while it may still become a command."""
    name, _ = split(line)
    if not name or any(c.spelled.startswith(name) or c.id.startswith(name) for c in commands):
        return ""
    return f"no command {name}; Tab completes, {key('palette')} shows all"


def complete(console: Context, line: str) -> list[str]:
    """Whole lines that could be meant."""
    name, _ = split(line)
    if " " not in line.lstrip():
        return sorted(c.spelled for c in console.commands if c.spelled.startswith(name))
    command = find(console.commands, name)
    if command is None or command.complete is None:
        return []
    typed = line.lstrip().partition(" ")[2]
    if " " in typed:
        return []
    return [f"{command.spelled} {value}" for value in command.complete(console) if value.startswith(typed)]
