"""How bad a session was: by what was achieved in it, never by how many techniques it took; pure.

What a session did is a list of deeds (:class:`Deed`). The worst of them gives the severity, and says it in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from decnet.events.ttp import SEVERITIES
from decnet.hostile import visible

CERTAIN = 0.5
"""A tag of less confidence than this is told in the story, but is nothing that was achieved."""
REASON_CHARS = 160
SOMETHING = "a script"
"""What has no name is called so, where nothing else has one."""
_PHRASES = 3
_NAMES = 3


class Deed(msgspec.Struct, frozen=True):
    """One thing that was done: its kind (a key of ``KINDS``), to what (a name, bounded and printable), and how."""

    kind: str
    what: str = ""
    how: str = ""


class Kind(NamedTuple):
    """What a kind of deed weighs, and how it is said (``{how}`` and ``{what}``; ``plain`` when nothing is named)."""

    severity: str
    said: str
    plain: str


KINDS: Mapping[str, Kind] = {
    "attacked": Kind("critical", "attacked other hosts: {what}", "attacked other hosts"),
    "escaped": Kind(
        "critical", "reached for the decoy's own host ({what})", "reached for the decoy's own host"
    ),
    "ran": Kind("high", "{how} and ran {what}", "ran code of its own"),
    "shell": Kind("high", "opened a reverse shell", "opened a reverse shell"),
    "persisted": Kind("high", "persisted ({what})", "persisted"),
    "changed": Kind("high", "changed credentials ({what})", "changed credentials"),
    "blinded": Kind("high", "switched off defences ({what})", "switched off defences"),
    "mined": Kind("high", "mined", "mined"),
    "ruined": Kind("high", "did damage ({what})", "did damage"),
    "took": Kind("medium", "sent data out ({what})", "sent data out"),
    "brought": Kind("medium", "{how} {what}, not run", "brought a file"),
    "tunnelled": Kind("medium", "tunnelled to {what}", "tunnelled"),
    "stopped": Kind("medium", "stopped processes or services ({what})", "stopped processes or services"),
    "tried": Kind("medium", "tried to {how} {what}", "tried to bring a file"),
    "looked": Kind("low", "logged in and looked", "logged in and looked"),
    "entered": Kind("low", "logged in, did nothing", "logged in, did nothing"),
    "probed": Kind("info", "tried {what}", "tried a weakness"),
    "knocked": Kind("info", "knocked", "knocked"),
}
"""By weight: of one severity the first is told first."""
_RANKS = {name: rank for rank, name in enumerate(KINDS)}


def judged(deeds: Iterable[Deed]) -> tuple[str, str]:
    """The severity of a session and its reason in words; of none it is ``info``."""
    by_kind: dict[str, list[Deed]] = {}
    for deed in deeds:
        if deed.kind in KINDS:
            by_kind.setdefault(deed.kind, []).append(deed)
    if not by_kind:
        return "info", KINDS["knocked"].plain
    kinds = sorted(by_kind, key=_RANKS.__getitem__)
    phrases = [_phrase(kind, by_kind[kind]) for kind in kinds if _worth(kind, kinds[0])]
    return KINDS[kinds[0]].severity, visible("; ".join(phrases[:_PHRASES]), REASON_CHARS)


def _worth(kind: str, worst: str) -> bool:
    """Whether a kind is told beside the worst one: what is less than medium is not, and no file that was run."""
    if kind == worst:
        return True
    return KINDS[kind].severity not in ("low", "info") and not (
        kind in ("brought", "tried") and worst == "ran"
    )


def _phrase(kind: str, deeds: Sequence[Deed]) -> str:
    named = dict.fromkeys(deed.what for deed in deeds if deed.what)
    names = [name for name in named if name != SOMETHING] or list(named)
    if not names:
        return KINDS[kind].plain
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    ways = [deed.how for deed in deeds if deed.how]
    return KINDS[kind].said.format(what=", ".join(names[:_NAMES]) + more, how=ways[0] if ways else "brought")


def worse(severity: str) -> list[str]:
    """The severities from the worst down to this one. Raises ValueError for none of them."""
    return list(SEVERITIES[: SEVERITIES.index(severity) + 1])
