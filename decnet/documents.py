"""A file that was parsed: its value, and where in the file each part of it stands. What parses it is left to others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from decnet.errors import SourcePosition

Path = tuple[int | str, ...]
Spot = tuple[int, int]
"""Line and column, from 1."""


class Flaw(NamedTuple):
    """What is wrong at a place."""

    message: str
    place: SourcePosition


@dataclass(slots=True)
class Document:
    """A parsed file: the value, and the places of keys and values by their path."""

    file: str
    value: Any
    keys: dict[Path, Spot]
    values: dict[Path, Spot]

    def key_place(self, path: Path) -> SourcePosition:
        """Where the key at ``path`` stands; the nearest enclosing value when it is absent."""
        return SourcePosition(self.file, *self.keys[path]) if path in self.keys else self.value_place(path)

    def value_place(self, path: Path) -> SourcePosition:
        """Where the value at ``path`` stands; the nearest enclosing one when it is absent."""
        while path and path not in self.values:
            path = path[:-1]
        return SourcePosition(self.file, *self.values.get(path, (1, 1)))
