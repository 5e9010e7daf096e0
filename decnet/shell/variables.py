"""Variables of a session's shell, as far as their values stand in its lines: assignments and lists of loops. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

MAX_VALUES = 16
"""Literal values that a variable may have (of a loop)."""
MAX_VARIABLES = 64
MAX_VALUE_CHARS = 256
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)\Z", re.DOTALL)
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_DECLARES = frozenset({"export", "declare", "readonly", "local", "typeset", "set"})


class Variables:
    """The variables whose values are known."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, ...]] = {}

    def expanded(self, word: str) -> tuple[str, ...]:
        """A word with the values of the variables that are known; several values of a loop are several words."""
        found = _VARIABLE.search(word) if "$" in word else None
        if found is None:
            return (word,)
        values = self._known.get(found[1] or found[2])
        if values is None:
            return (word,)
        if len(values) > 1:
            return tuple(word[: found.start()] + value + word[found.end() :] for value in values)
        known = lambda m: (self._known.get(m[1] or m[2]) or (m[0],))[0]  # noqa: E731
        return (_VARIABLE.sub(known, word)[: 4 * MAX_VALUE_CHARS],)

    def assigned(self, words: Sequence[str]) -> bool:
        """Whether words only give variables their values; of a loop, and by ``export`` and its like, too."""
        if len(words) > 2 and words[1] == "in":
            self._set(words[0], words[2 : 2 + MAX_VALUES])
            return True
        if words and words[0] in _DECLARES:
            words = [word for word in words[1:] if not word.startswith("-")]
            if not words:
                return False
        given = [found for word in words if (found := _ASSIGNMENT.match(word))]
        if len(given) < len(words):
            return False
        for found in given:
            self._set(found[1], [found[2]])
        return True

    def _set(self, name: str, values: Sequence[str]) -> None:
        if name in self._known or len(self._known) < MAX_VARIABLES:
            self._known[name] = tuple(value[:MAX_VALUE_CHARS] for value in values)
