"""Which programs of the rules' own examples were typed: what tells a rule that had no occasion from one that is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from decnet.shell.known import COMMANDS
from decnet.shell.views import views
from decnet.ttp.rules import CompiledRule

MAX_EXAMPLE_CHARS = 300
_ANYWHERE = frozenset(
    ("awk", "bash", "busybox", "cat", "cd", "cp", "cut", "echo", "export", "find", "for", "grep", "head", "ls", "mv", "printf", "rm", "sed", "sh", "sudo", "tail", "tee", "touch")
)  # fmt: skip
"""Programs that are typed for anything: that one of them was typed says nothing of a rule that did not fire."""


@dataclass(slots=True)
class _Lines:
    """Lines that name a program."""

    seen: int = 0
    example: str = ""


class Typed:
    """Counts lines by the programs of rules' examples; no more programs than those are kept."""

    def __init__(self, rules: Iterable[CompiledRule]) -> None:
        self._of = {rule.rule_id: programs_of(rule) for rule in rules}
        self._lines = {name: _Lines() for names in self._of.values() for name in names}

    def note(self, line: str, times: int) -> None:
        """Takes in a line that occurred ``times`` times."""
        for name in {word.rpartition("/")[2] for word in line.split()}:
            entry = self._lines.get(name)
            if entry is not None:
                entry.seen += times
                entry.example = entry.example or line[:MAX_EXAMPLE_CHARS]

    def most(self, rule_id: str) -> dict[str, Any]:
        """The program of a rule's examples that was typed most, in how many lines, and the first of them."""
        name = max(self._of[rule_id], key=lambda name: (self._lines[name].seen, name), default="")
        lines = self._lines.get(name, _Lines())
        return {"program": name if lines.seen else "", "typed": lines.seen, "example": lines.example}


def programs_of(rule: CompiledRule) -> frozenset[str]:
    """The programs of a command rule's own examples, without those that say nothing of what a line is for."""
    if "command" not in rule.applies_to:
        return frozenset()
    texts = (text for example in rule.tests_match if (text := _example(example)) is not None)
    found = {view.argv0 for text in texts for view in views(text).views if view.kind != "decoded"}
    return frozenset(name for name in found if name in COMMANDS or len(name) > 2) - _ANYWHERE


def _example(example: Any) -> str | None:
    """The text of an example, or the last line of one of a whole session."""
    if isinstance(example, Mapping):
        text = _example(example.get("session")) or example.get("command_text")
        return text if isinstance(text, str) else None
    if isinstance(example, list):
        return _example(example[-1]) if example else None
    return example if isinstance(example, str) else None
