"""The actor that ``F`` follows in all views: every address and id it is known by."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from decnet.hostile import storable_text, visible
from decnet.ids import attacker_id, identity_id


@dataclass(frozen=True)
class Scope:
    """One actor; ``names`` holds addresses, attacker uuids and identity uuids.

    ``own`` are the identities of its own addresses, whatever they were merged into.
    """

    label: str
    names: frozenset[str]
    own: frozenset[str] = frozenset()
    anchor: str = ""
    """The address or id that was chosen; who belongs to it may change while it is followed."""
    addresses: int = 1
    """How many addresses are followed."""
    campaign: str = ""
    """The campaign whose addresses are followed; empty for an actor."""

    @property
    def title(self) -> str:
        """What is followed, and over how many addresses."""
        return f"{self.label} ({self.addresses} addr)" if self.addresses > 1 else self.label

    @cached_property
    def _needles(self) -> tuple[bytes, ...]:
        return tuple(json.dumps(name).encode() for name in self.names)

    def covers_raw(self, raw: bytes) -> bool:
        """Whether an event's JSON names the actor."""
        return any(needle in raw for needle in self._needles)

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

    def parted(self, one: str, former: str) -> Scope:
        """The scope after an identity turned out to be one of its own: it follows its own addresses."""
        left = {one, former} - self.own
        names = (self.names - (left if len(left) < 2 else {one})) | ({one, former} & self.own)
        if self.names.isdisjoint({one, former}) or names == self.names:
            return self
        return replace(self, names=names)

    def of(self, names: Iterable[str | None], addresses: int) -> Scope:
        """The scope over other names; the chosen one stays."""
        known = frozenset(name for name in (*names, self.anchor) if name)
        return replace(self, names=known, addresses=max(addresses, 1))


def campaign_scope(row: Mapping[str, Any]) -> Scope:
    """All addresses of a campaign; ``row`` is one of ``campaigns``."""
    uuid = str(row["campaign_uuid"])
    own = [identity_id(attacker) for attacker in row["attacker_uuids"]]
    names = frozenset([*row["addresses"], *row["attacker_uuids"], *row["identities"], *own])
    return Scope(f"c-{uuid[:8]}", names, frozenset(own), addresses=len(row["attacker_uuids"]), campaign=uuid)


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
    own = frozenset(identity_id(storable_text(str(a))) for a in {attacker, *attackers} if a)
    anchor = str(attacker or identity or names[0])
    return Scope(visible(ip or f"id:{str(identity)[:8]}", 45), frozenset(names), own, anchor)
