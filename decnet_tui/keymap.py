"""Keys: which command a key means in a view; help, footer and clash report come from here.

Keys can be changed in the settings (``console.keymap``: command id to key, comma separated).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from decnet_tui.commands.base import Command
from decnet_tui.screens.palette import Offer

NEVER = frozenset({f"ctrl+{c}" for c in "absqhijmz"} | {"ctrl+backslash", "ctrl+@", "tilde"})
"""Keys that multiplexers, terminals and line disciplines need for themselves."""
_NAMES = {
    "slash": "/",
    "backslash": "\\",
    "minus": "-",
    "question_mark": "?",
    "colon": ":",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "equals_sign": "=",
    "percent_sign": "%",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "escape": "Esc",
    "enter": "Enter",
    "tab": "Tab",
    "ctrl+c": "^C",
    "ctrl+f": "^F",
    "ctrl+p": "^P",
}
_CODES = {shown: code for code, shown in _NAMES.items()}
_ARROWS = frozenset({"up", "down", "left", "right", "home", "end"})


class Keys:
    """The keys in effect for a list of commands; ``hidden`` ids have none."""

    def __init__(
        self,
        commands: Sequence[Command],
        overrides: Mapping[str, str] | None = None,
        hidden: frozenset[str] = frozenset(),
    ) -> None:
        self.commands = [c for c in commands if c.id not in hidden]
        self.problems = problems(commands, overrides or {})
        self._overrides = {} if self.problems else dict(overrides or {})
        self._by_key: dict[str, list[Command]] = {}
        for command in self.commands:
            for key in self.of(command):
                self._by_key.setdefault(key, []).append(command)

    def of(self, command: Command) -> tuple[str, ...]:
        """The keys of one command."""
        return _split(self._overrides.get(command.id, command.keys))

    def find(self, key: str, view: str) -> Command | None:
        """What a key means in a view: the view's own command before one for everywhere."""
        found = [c for c in self._by_key.get(key, ()) if c.works_in(view)]
        return next((c for c in found if c.views), found[0] if found else None)

    def elsewhere(self, key: str) -> tuple[str, ...]:
        """Views in which a key means something."""
        return tuple(v for c in self._by_key.get(key, ()) for v in c.views)

    def footer(self, view: str, width: int = 80, here: Callable[[Command], bool] = lambda _: True) -> str:
        """The key line of a view, of commands that do something ``here``; cut to ``width`` at a word.

        The view's own keys come first, help at the end.
        """
        commands = [c for c in self.commands if c.foot and c.works_in(view) and c.id != "help" and here(c)]
        parts = [self._hint(c) for c in sorted(commands, key=lambda c: not c.views)]
        last = [self._hint(c) for c in self.commands if c.id == "help"]
        while parts and len("  ".join(parts + last)) > width:
            parts.pop()
        return "  ".join(parts + last)

    def _hint(self, command: Command) -> str:
        return f"{self._named(command)} {command.foot}"

    def names(self) -> dict[str, str]:
        """How texts call the key of each command, by its id; a command without a key by its word on the command line."""
        return {c.id: self._named(c) for c in self.commands}

    def _named(self, command: Command) -> str:
        keys = [k for k in self.of(command) if k not in _ARROWS]
        return shown(keys[0]) if keys else f":{command.spelled}"

    def offers(self) -> list[Offer]:
        """What the palette chooses from: every command with its keys."""
        return [Offer(c.id, c.spelled, c.says, " ".join(map(shown, self.of(c)))) for c in self.commands]

    def help_lines(self) -> list[tuple[str, str]]:
        """(keys, what they do) of every command by group; a group's title has no keys."""
        lines: list[tuple[str, str]] = []
        group = ""
        for command in sorted(self.commands, key=lambda c: _order(self.commands, c.group)):
            if command.group != group:
                group = command.group
                lines.append(("", group))
            where = f" (in {', '.join(command.views)})" if command.views else ""
            keys = " ".join(shown(k) for k in self.of(command)) or f":{command.spelled}"
            lines.append((keys, command.says + where))
        return lines


def _order(commands: Sequence[Command], group: str) -> int:
    return next(i for i, c in enumerate(commands) if c.group == group)


def _split(keys: str) -> tuple[str, ...]:
    return tuple(_CODES.get(k, k) for k in (part.strip() for part in keys.split(",")) if k)


def problems(commands: Iterable[Command], overrides: Mapping[str, str]) -> list[str]:
    """What is wrong with the keys: unknown ids, forbidden keys, one key for two commands of one view."""
    known = {c.id: c for c in commands}
    found = [f"keymap: unknown action {name}" for name in overrides if name not in known]
    owners: dict[str, list[Command]] = {}
    for command in known.values():
        for key in _split(overrides.get(command.id, command.keys)):
            if key in NEVER or key.startswith("alt+"):
                found.append(f"keymap: {key} cannot be used ({command.id})")
            clash = next((c for c in owners.setdefault(key, []) if _meet(c, command)), None)
            if clash is not None:
                found.append(f"keymap: {shown(key)} is bound to {clash.id} and {command.id}")
            owners[key].append(command)
    return found


def _meet(a: Command, b: Command) -> bool:
    """Whether both work in one view."""
    return not a.views or not b.views or bool(set(a.views) & set(b.views))


def shown(key: str) -> str:
    """A key as people write it."""
    return _NAMES.get(key, key)
