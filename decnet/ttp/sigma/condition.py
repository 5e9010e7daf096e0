"""The ``condition`` of a Sigma rule → a tree: names of its detections, joined by and, or, not, ``1 of`` and ``all of``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from decnet.ttp.sigma.refusal import Refusal

MAX_TOKENS = 500
MAX_NESTING = 30
_TOKEN = re.compile(r"\s*(?:([()|])|([^\s()|]+))")


@dataclass(frozen=True, slots=True)
class Name:
    """One detection."""

    name: str


@dataclass(frozen=True, slots=True)
class Not:
    """What must not hold."""

    part: Tree


@dataclass(frozen=True, slots=True)
class AllOf:
    """Parts that must all hold."""

    parts: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class OneOf:
    """Parts of which one must hold."""

    parts: tuple[Tree, ...]


Tree = Name | Not | AllOf | OneOf


def parse_condition(text: str, names: Sequence[str]) -> Tree:
    """The tree of a condition over detections called ``names``. Raises Refusal."""
    return _Parser(text, names).run()


class _Parser:
    """Descends through: or, and, not, a group, a quantity or a name."""

    def __init__(self, text: str, names: Sequence[str]) -> None:
        self._text, self._names = text, list(names)
        self._tokens = [a or b for a, b in _TOKEN.findall(text)]
        self._at = self._depth = 0

    def run(self) -> Tree:
        if len(self._tokens) > MAX_TOKENS:
            raise Refusal(f"its condition has over {MAX_TOKENS} words")
        if "|" in self._tokens:
            raise Refusal("counts behind a `|` in the condition are of old: write a correlation rule")
        found = self._either()
        if self._at < len(self._tokens):
            raise self._unclear()
        return found

    def _either(self) -> Tree:
        parts = [self._every()]
        while self._word("or"):
            parts.append(self._every())
        return parts[0] if len(parts) == 1 else OneOf(tuple(parts))

    def _every(self) -> Tree:
        parts = [self._single()]
        while self._word("and"):
            parts.append(self._single())
        return parts[0] if len(parts) == 1 else AllOf(tuple(parts))

    def _single(self) -> Tree:
        self._depth += 1
        if self._depth > MAX_NESTING:
            raise Refusal(f"its condition nests over {MAX_NESTING} deep")
        try:
            if self._word("not"):
                return Not(self._single())
            if self._word("("):
                found = self._either()
                if not self._word(")"):
                    raise self._unclear()
                return found
            return self._of() or self._name()
        finally:
            self._depth -= 1

    def _of(self) -> Tree | None:
        """``1 of NAME*``, ``any of``, ``all of``; of ``them`` are all detections that begin with no underscore."""
        if self._peek(1).lower() != "of":
            return None
        quantity, wanted = self._peek(0).lower(), self._peek(2)
        self._at += 3
        found = [n for n in self._names if self._wanted(n, wanted)]
        if not found:
            raise Refusal(f"its condition asks for {wanted or 'nothing'}, and no detection is called so")
        parts = tuple(Name(n) for n in found)
        if quantity in ("1", "any"):
            return OneOf(parts)
        if quantity == "all":
            return AllOf(parts)
        raise Refusal(f"its condition asks for {quantity} of several: only 1 and all can be said")

    def _wanted(self, name: str, wanted: str) -> bool:
        if wanted.lower() == "them":
            return not name.startswith("_")
        return fnmatchcase(name, wanted)

    def _name(self) -> Tree:
        name = self._peek(0)
        if name not in self._names:
            raise self._unclear()
        self._at += 1
        return Name(name)

    def _peek(self, ahead: int) -> str:
        place = self._at + ahead
        return self._tokens[place] if place < len(self._tokens) else ""

    def _word(self, word: str) -> bool:
        if self._peek(0).lower() != word:
            return False
        self._at += 1
        return True

    def _unclear(self) -> Refusal:
        at = self._peek(0) or "its end"
        return Refusal(f"its condition cannot be read at {at[:40]}: {self._text[:80]}")
