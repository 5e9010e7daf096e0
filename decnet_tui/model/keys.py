"""What a key is called in a text: as the registry has it in this run, where an operator may have changed it.

Texts name commands by their ids; no text holds a key. Where no console runs, a command is called by its name.
"""

from __future__ import annotations

from collections.abc import Mapping

_in_use: dict[str, str] = {}


def use(names: Mapping[str, str]) -> None:
    """Takes names of keys into use, by the ids of their commands."""
    _in_use.clear()
    _in_use.update(names)


def key(command: str) -> str:
    """The key of a command, by its id; without a console the command's own word."""
    return _in_use.get(command) or command.rpartition(".")[2]


def view_key(view: str) -> str:
    """The key of a view, by its name."""
    return key(f"view.{view}")
