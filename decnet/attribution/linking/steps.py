"""A session's commands as a script: steps without names, hosts and numbers, what each says, and how two compare; pure.

A script is compared by its *marks*: its steps, and which of them follows which (two bits). Steps alone would make
one kit of all that look around, fetch and clean up.

A step is one simple command, read as playbooks are (:mod:`decnet.shell.playbook`) but with what its arguments are:
options stay, a path of the system stays, a URL is ``@``, a key ``KEY``, every other word goes. What a step
says is fixed by the step alone (a bit for each word that is left, one more for a program that not everybody types; 2 to 5), so whether two scripts are alike never
depends on what else was seen.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from decnet.attribution.linking import numbers as n
from decnet.bounds import bit
from decnet.shell.known import COMMANDS
from decnet.shell.playbook import FOLDS, OWN, Simple, folded, simples
from decnet.shell.programs import RECON

_DIGITS = re.compile(r"\d+")
_REMOTE = re.compile(r"\w+://|/dev/(?:tcp|udp)/")
_SYSTEM = re.compile(
    r"(?:/(?:proc|etc|sys|dev|usr|bin|sbin|lib|boot|var/(?:log|run|spool))/|.*\.ssh\b)[\w./-]{0,60}\Z"
)
_EVERYDAY = RECON | {
    "cd", "echo", "exit", "logout", "ls", "cat", "grep", "wc", "head", "tail", "history", "clear", "sudo", "su", OWN,
}  # fmt: skip
"""Programs that anybody types; that one of the others is used says a bit more (``enable``, ``tftp``, ``chattr``)."""
_WORDS = 16
_WORD_CHARS = 64
_CACHED_CHARS = 1000


def script_of(lines: Iterable[str]) -> tuple[str, ...]:
    """The steps of a session's lines in order, without what repeats itself; empty for a session that says too little."""
    steps: list[str] = []
    for line in lines:
        steps += _steps(line) if len(line) <= _CACHED_CHARS else _read(line)
        if len(steps) > n.SESSION_STEPS:
            bit(n.CAPPED, len(steps) - n.SESSION_STEPS)
            del steps[n.SESSION_STEPS :]
            break
    for _ in range(FOLDS):
        before = len(steps)
        steps = folded(steps)
        if len(steps) == before:
            break
    return tuple(steps) if says_enough(steps) else ()


def says_enough(steps: Sequence[str]) -> bool:
    """Whether a script is more than what anybody types."""
    distinct = set(steps)
    return len(distinct) >= n.SCRIPT_STEPS and sum(map(step_bits, distinct)) >= n.SCRIPT_BITS


@lru_cache(maxsize=8192)
def _steps(line: str) -> tuple[str, ...]:
    return _read(line)


def _read(line: str) -> tuple[str, ...]:
    return tuple(_step(one) for one in simples(line))


def _step(one: Simple) -> str:
    name = one.program.lower()
    kept = [name if name in COMMANDS else OWN]
    kept += filter(None, map(_kept, one.words[1 : 1 + _WORDS]))
    return " ".join(kept)


def _kept(word: str) -> str:
    if word.startswith("-") and len(word) > 1:
        return _DIGITS.sub("#", word.partition("=")[0])[:_WORD_CHARS]
    if "AAAA" in word and len(word) > _WORD_CHARS:
        return "KEY"
    if _REMOTE.search(word[:_WORD_CHARS]):
        return "@"
    return _DIGITS.sub("#", word) if _SYSTEM.match(word) else ""


class Marks(NamedTuple):
    """What two scripts are compared by."""

    all: frozenset[str]
    bits: int
    """What all of them say."""

    @classmethod
    def of(cls, marks: Iterable[str]) -> Marks:
        """As they were kept."""
        kept = frozenset(marks)
        return cls(kept, sum(map(step_bits, kept)))


def marks_of(steps: Sequence[str]) -> Marks:
    """The marks of a script."""
    return Marks.of((*steps, *(f"{one}\n{other}" for one, other in pairwise(steps))))


@lru_cache(maxsize=16_384)
def step_bits(step: str) -> int:
    """What a step, or that one follows another, says in bits."""
    if "\n" in step:
        return n.MIN_STEP_BITS
    words = step.count(" ") + 1
    rare = step.partition(" ")[0] not in _EVERYDAY
    return min(max(words, n.MIN_STEP_BITS) + rare, n.MAX_STEP_BITS)


def script_id(steps: Sequence[str]) -> str:
    """The name of a script: equal for equal steps in equal order."""
    return "sc-" + hashlib.sha256("\n".join(steps).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def alike(one: Marks, other: Marks) -> float:
    """Weighted Jaccard of the marks of two scripts, 0..1."""
    both = sum(map(step_bits, one.all & other.all))
    return both / (one.bits + other.bits - both) if both else 0.0


def alike_at_most(one: Marks, other: Marks) -> float:
    """What :func:`alike` could be for two that say so much, at a fraction of its cost."""
    return min(one.bits, other.bits) / max(one.bits, other.bits, 1)


_PRIME = (1 << 61) - 1


def _numbers(text: str, count: int) -> list[int]:
    raw = hashlib.shake_128(text.encode("utf-8", "surrogatepass")).digest(8 * count)
    return [int.from_bytes(raw[i : i + 8], "big") % _PRIME for i in range(0, len(raw), 8)]


@lru_cache(maxsize=4096)
def _row(step: str) -> array[int]:
    """For each row the least hash of a step, which stands in it once for each of its bits: weighted MinHash."""
    copies = [_numbers(f"{copy}|{step}", n.BANDS * n.ROWS) for copy in range(step_bits(step))]
    return array("Q", map(min, zip(*copies, strict=True)))


def bands(marks: Marks) -> list[int]:
    """One number a band; scripts that share one are worth comparing."""
    least = [min(row) for row in zip(*(_row(mark) for mark in marks.all), strict=True)]
    return [
        hash((at, *least[at * n.ROWS : (at + 1) * n.ROWS])) & 0xFFFFFFFFFFFF for at in range(n.BANDS)
    ]  # of numbers only: the same in every process
