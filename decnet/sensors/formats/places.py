"""Reads the parts of a table's file one by one and notes what is wrong with each, with its place; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from decnet.documents import Document, Flaw, Path
from decnet.durations import parse_finite
from decnet.patterns import PatternError, compile_pattern

T = TypeVar("T")
MAX_PATTERN = 2_000
"""Characters of a pattern."""


class Reader:
    """One document on its way to a table; ``flaws`` collects what is wrong, in the order in which it is found."""

    def __init__(self, document: Document, flaws: list[Flaw]) -> None:
        self.document = document
        self.flaws = flaws

    def wrong(self, path: Path, message: str) -> None:
        """Notes what is wrong with the value at a path."""
        self.flaws.append(Flaw(message, self.document.value_place(path)))

    def keys(
        self, path: Path, value: Any, known: Iterable[str], needed: Sequence[str] = ()
    ) -> dict[str, Any]:
        """A mapping without the keys that nobody knows; what is no mapping is an empty one."""
        if not isinstance(value, dict):
            self.wrong(path, f"{_name(path)} is a mapping")
            return {}
        allowed = list(known)
        for key in value:
            if key not in allowed:
                place = self.document.key_place((*path, key))
                self.flaws.append(Flaw(f"unknown key '{key}'; known: {', '.join(allowed)}", place))
        for key in needed:
            if key not in value:
                self.wrong(path, f"missing key '{key}'")
        return {key: one for key, one in value.items() if key in allowed}

    def text(self, path: Path, value: Any, *, longest: int = 1_000) -> str:
        """A text that says something; empty where it is none."""
        if not isinstance(value, str) or not value:
            self.wrong(path, f"{_name(path)} is a text")
            return ""
        if len(value) > longest:
            self.wrong(path, f"{_name(path)} is longer than {longest} characters")
            return ""
        return value

    def word(self, path: Path, value: Any, known: Iterable[str]) -> str:
        """One of some words; empty where it is none."""
        words = list(known)
        if not isinstance(value, str) or value not in words:
            self.wrong(path, f"{_name(path)}: {value!r:.60} is none of {', '.join(words)}")
            return ""
        return value

    def texts(self, path: Path, value: Any) -> tuple[str, ...]:
        """A list of texts, or one text alone."""
        if isinstance(value, str):
            return (value,)
        return tuple(self.each(path, value, self.text))

    def each(self, path: Path, value: Any, read: Callable[[Path, Any], T]) -> list[T]:
        """A list of which every item is read alike; what is no list is an empty one."""
        if not isinstance(value, list) or not value:
            self.wrong(path, f"{_name(path)} is a list that is not empty")
            return []
        return [read((*path, i), item) for i, item in enumerate(value)]

    def flag(self, path: Path, value: Any) -> bool:
        """True or false."""
        if not isinstance(value, bool):
            self.wrong(path, f"{_name(path)} is true or false")
        return value is True

    def seconds(self, path: Path, value: Any) -> float:
        """The seconds of a duration that is longer than nothing; 0 where it is none."""
        try:
            found = parse_finite(value) if isinstance(value, str) else 0.0
        except ValueError as error:
            self.wrong(path, f"{_name(path)}: {error}")
            return 0.0
        if not found:
            self.wrong(path, f"{_name(path)} is a duration longer than nothing: 90s, 5m, 1h")
        return found

    def pattern(self, path: Path, value: Any, *, groups: bool = False) -> Any:
        """A compiled RE2 pattern; None where it is none."""
        text = self.text(path, value, longest=MAX_PATTERN)
        if not text:
            return None
        try:
            return compile_pattern(text, groups=groups)
        except PatternError as error:
            self.wrong(path, f"{_name(path)}: {error}")
            return None


def _name(path: Path) -> str:
    """What a value is called in a message: its key, an item of a list with its number."""
    if not path:
        return "a table"
    if isinstance(path[-1], int):
        return f"{next((str(part) for part in reversed(path) if isinstance(part, str)), 'item')}[{path[-1]}]"
    return str(path[-1])
