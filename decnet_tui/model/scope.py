"""The actor that ``F`` follows in all views: every address and id it is known by."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from decnet.hostile import storable_text, visible
from decnet.ids import attacker_id, identity_id

FEW = 16
"""Names that are looked for one by one."""
_NAME = re.compile(rb'"([0-9a-fA-F.:-]{3,45})"')
"""An address or an id in JSON."""


class Of(NamedTuple):
    """Whose indicators: of one session, one attacker (address or id) or one campaign, of a span; none of these is all.

    Times are epoch seconds.
    """

    label: str
    attacker: str | None = None
    session: str | None = None
    campaign: str | None = None
    begin: float | None = None
    end: float | None = None


@dataclass(frozen=True)
class Scope:
    """One actor; ``names`` holds addresses, attacker uuids and identity uuids."""

    label: str
    names: frozenset[str]
    anchor: str = ""
    """The address or id that was chosen; who belongs to it may change while it is followed."""
    addresses: int = 1
    """How many addresses are followed."""
    campaign: str = ""
    """The campaign whose addresses are followed; empty for an actor."""

    @property
    def title(self) -> str:
        """What is followed, and over how many addresses."""
        return f"{self.label} {self.addresses} addr" if self.addresses > 1 else self.label

    @cached_property
    def _needles(self) -> tuple[bytes, ...]:
        """Each name as JSON has it; of many those alone that look like no address and no id."""
        written = (json.dumps(name).encode() for name in self.names)
        return tuple(name for name in written if len(self.names) <= FEW or not _NAME.fullmatch(name))

    @cached_property
    def _written(self) -> frozenset[bytes]:
        """The other names of many: looking for each in each event would take longer than reading all of an event's."""
        return (
            frozenset(json.dumps(name)[1:-1].encode() for name in self.names)
            if len(self.names) > FEW
            else frozenset()
        )

    def covers_raw(self, raw: bytes) -> bool:
        """Whether an event's JSON names the actor."""
        if any(needle in raw for needle in self._needles):
            return True
        return bool(self._written) and not self._written.isdisjoint(_NAME.findall(raw))

    def covers(self, values: Iterable[Any]) -> bool:
        """Whether one of a row's values, or an element of a list there, names the actor."""
        return any(
            bool(self.names.intersection(map(str, value)))
            if isinstance(value, (list, tuple))
            else str(value) in self.names
            for value in values
        )

    def merged(self, winner: str, loser: str) -> Scope:
        """The scope after two identities turned out to be one."""
        if loser not in self.names and winner not in self.names:
            return self
        return replace(self, names=self.names | {winner, loser})

    def parted(self, winner: str, own: str) -> Scope:
        """The scope after an identity is its own again: the one that was chosen stays, as far as that is known here."""
        if own not in self.names or winner not in self.names:
            return self
        chosen = own if own in (self.anchor, identity_id(self.anchor)) else winner
        return replace(self, names=self.names - ({winner, own} - {chosen}))

    def of(self, names: Iterable[str | None], addresses: int) -> Scope:
        """The scope over other names; the chosen one stays."""
        known = frozenset(name for name in (*names, self.anchor) if name)
        return replace(self, names=known, addresses=max(addresses, 1))


def campaign_scope(row: Mapping[str, Any]) -> Scope:
    """All addresses of a campaign, and no other of their identities; ``row`` is one of ``campaigns``."""
    uuid = str(row["campaign_uuid"])
    names = frozenset([*row["addresses"], *row["attacker_uuids"]])
    return Scope(f"c-{uuid[:8]}", names, addresses=len(row["attacker_uuids"]), campaign=uuid)


def scope_of(row: dict[str, Any]) -> Scope | None:
    """The actor that a row or payload names; None when it names none.

    Ids are derived from the address, so an address alone is enough to find the rest.
    """
    ip, attacker, identity = (row.get(k) for k in ("attacker_ip", "attacker_uuid", "identity_uuid"))
    several = row.get("attacker_uuids")
    attackers = [str(a) for a in several if a] if isinstance(several, (list, tuple)) else []
    if ip and not attacker:
        attacker = attacker_id(storable_text(str(ip)))
    if attacker and not identity:
        identity = identity_id(storable_text(str(attacker)))
    names = [str(n) for n in (ip, attacker, identity, *attackers) if n]
    if not names:
        return None
    anchor = str(attacker or identity or names[0])
    return Scope(visible(ip or f"id:{str(identity)[:8]}", 45), frozenset(names), anchor)
