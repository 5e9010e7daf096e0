"""Every action of the console with its id and keys; bindings, help and footer come from here.

Keys can be changed in the settings (``console.keymap``: action id to key); clashes are reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from textual.binding import Binding

NEVER = frozenset({f"ctrl+{c}" for c in "absqhijmz"} | {"ctrl+backslash", "ctrl+@", "tilde"})
"""Keys that multiplexers, terminals and line disciplines need for themselves."""
_NAMES = {
    "slash": "/",
    "backslash": "\\",
    "minus": "-",
    "question_mark": "?",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "escape": "Esc",
    "enter": "Enter",
    "tab": "Tab",
    "ctrl+c": "^C",
}
_ARROWS = frozenset({"up", "down", "left", "right", "home", "end"})


@dataclass(frozen=True)
class Action:
    """One thing a key does. ``views`` empty means everywhere; ``foot`` is its word in the footer."""

    id: str
    keys: str
    action: str
    says: str
    group: str
    foot: str = ""
    views: tuple[str, ...] = ()


ACTIONS: tuple[Action, ...] = (
    Action("view.traffic", "1", "view('traffic')", "Traffic: live events", "Views"),
    Action("view.rules", "4", "view('rules')", "Rules and their states", "Views"),
    Action("view.workers", "6", "view('workers')", "Workers and their health", "Views"),
    Action("view.last", "minus", "last_view", "last view", "Views"),
    Action("help", "question_mark", "view('help')", "this help", "Views", "help"),
    Action("move.down", "down,j", "move(1)", "down", "Moving"),
    Action("move.up", "up,k", "move(-1)", "up", "Moving"),
    Action("move.right", "right,l", "side(1)", "to the detail pane", "Moving"),
    Action("move.left", "left,h", "side(-1)", "to the list", "Moving"),
    Action("move.page_down", "pagedown", "page(1)", "page down", "Moving"),
    Action("move.page_up", "pageup", "page(-1)", "page up", "Moving"),
    Action("move.first", "g,home", "edge(-1)", "first line", "Moving"),
    Action("move.last", "G,end", "edge(1)", "last line", "Moving"),
    Action("pane.next", "tab", "next_pane", "other pane", "Moving"),
    Action("back", "escape", "escape", "one level back", "Moving"),
    Action("filter", "slash", "filter", "filter: topic patterns with + and -, words", "Reading", "filter"),
    Action("filter.clear", "backslash", "clear_filter", "clear the filter", "Reading"),
    Action(
        "pause",
        "p",
        "pause",
        "pause: keeps receiving, the view does not move",
        "Reading",
        "pause",
        ("traffic",),
    ),
    Action("tail", "f", "tail", "tail: stay at the newest line", "Reading", "tail", ("traffic",)),
    Action("open", "enter", "open", "open the detail of the line", "Reading", "open"),
    Action("detail", "v", "detail", "detail pane on or off", "Reading", "detail", ("traffic", "workers")),
    Action("time", "t", "time_format", "time format: clock, date, age", "Reading"),
    Action("copy", "y", "copy", "copy the line's data to the clipboard (OSC 52)", "Reading", "copy"),
    Action("write", "W", "write_mode", "write mode, for a limited time", "Changes", "write", ("rules",)),
    Action("rule.disable", "D", "change('D')", "disable the rule", "Changes", "disable", ("rules",)),
    Action("rule.enable", "E", "change('E')", "enable the rule", "Changes", "enable", ("rules",)),
    Action(
        "rule.clip",
        "C",
        "change('C')",
        "clip the rule: a ceiling for its confidence",
        "Changes",
        "clip",
        ("rules",),
    ),
    Action("leave", "q", "leave", "back", "Leaving"),
    Action("quit", "Q", "quit_console", "quit", "Leaving", "quit", ("traffic", "workers", "help")),
    Action("interrupt", "ctrl+c", "interrupt", "says how to quit", "Leaving"),
)


def bindings() -> list[Binding]:
    """The bindings of the app, one per action."""
    return [Binding(a.keys, a.action, a.says, show=False, id=a.id) for a in ACTIONS]


def keys_of(action: Action, overrides: Mapping[str, str]) -> tuple[str, ...]:
    """The keys in effect."""
    return tuple(k.strip() for k in overrides.get(action.id, action.keys).split(",") if k.strip())


def problems(overrides: Mapping[str, str]) -> list[str]:
    """What is wrong with changed keys: unknown ids, forbidden keys, one key for two actions."""
    known = {a.id for a in ACTIONS}
    found = [f"keymap: unknown action {name}" for name in overrides if name not in known]
    owner: dict[str, str] = {}
    for action in ACTIONS:
        for key in keys_of(action, overrides):
            if key in NEVER or key.startswith("alt+"):
                found.append(f"keymap: {key} cannot be used ({action.id})")
            if owner.setdefault(key, action.id) != action.id:
                found.append(f"keymap: {key} is bound to {owner[key]} and {action.id}")
    return found


def shown(key: str) -> str:
    """A key as people write it."""
    return _NAMES.get(key, key)


def footer(view: str, overrides: Mapping[str, str], hidden: frozenset[str] = frozenset()) -> str:
    """The key line of a view."""
    parts = []
    for action in sorted(ACTIONS, key=lambda a: a.id == "help"):
        if action.foot and action.id not in hidden and (not action.views or view in action.views):
            keys = [k for k in keys_of(action, overrides) if k not in _ARROWS]
            parts.append(f"{shown(keys[0]) if keys else '?'} {action.foot}")
    return "  ".join(parts)


def help_lines(overrides: Mapping[str, str], hidden: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
    """(keys, what they do) of every action by group; a group's title has no keys."""
    lines: list[tuple[str, str]] = []
    group = ""
    for action in ACTIONS:
        if action.id in hidden:
            continue
        if action.group != group:
            group = action.group
            lines.append(("", group))
        lines.append((" ".join(shown(k) for k in keys_of(action, overrides)), action.says))
    return lines
