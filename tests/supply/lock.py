"""The lock as data: every part with its version, its hashes and who asks for it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

LOCK = Path(__file__).parents[2] / "requirements" / "run.txt"
_PART = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)(?:\s*;\s*(?P<marker>[^\\]+?))?\s*\\?\Z"
)
_HASH = re.compile(r"\s+--hash=sha256:(?P<digest>[0-9a-f]{64})\s*\\?\Z")
_VIA = re.compile(r"\s+#\s+(?:via\s*)?(?P<who>.*)\Z")


@dataclass(slots=True)
class Part:
    """One distribution of the lock; ``by`` are the parts that ask for it, none of them the program itself."""

    name: str
    version: str
    marker: str = ""
    hashes: list[str] = field(default_factory=list)
    by: list[str] = field(default_factory=list)
    own: bool = False
    """Whether the program asks for it itself."""


def parts(text: str) -> list[Part]:
    """All parts in order. Raises ValueError for a line that is none, and for a part without a hash."""
    found: list[Part] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if match := _PART.match(line):
            found.append(Part(match["name"], match["version"], match["marker"] or ""))
        elif found and (match := _HASH.match(line)):
            found[-1].hashes.append(match["digest"])
        elif found and (match := _VIA.match(line)):
            _asked(found[-1], match["who"].strip())
        else:
            raise ValueError(f"line {number} of the lock is no part, no hash and no reason: {line[:80]!r}")
    if bare := [part.name for part in found if not part.hashes]:
        raise ValueError(f"without a hash: {', '.join(bare)}")
    return found


def _asked(part: Part, who: str) -> None:
    if who.startswith("decnet-tui"):
        part.own = True
    elif who:
        part.by.append(who)
