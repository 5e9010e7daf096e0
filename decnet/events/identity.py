"""Identities: formed, merged, taken apart again.

``source`` says who found out: what is from :data:`LINKING` is news of ours, which is in the database already.
"""

from __future__ import annotations

from typing import ClassVar

from decnet.events.fields import Named
from decnet.events.record import Record

LINKING = "linking"


class Formed(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``identity.formed``: an attacker has an identity of its own now."""

    ALWAYS: ClassVar = ("attacker_uuids",)

    identity_uuid: Named
    source_id: str | None = None
    attacker_uuids: list[str] = []


class Merged(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``identity.merged``: two identities are one; news of a smaller ``seq`` than the last is old."""

    ALWAYS: ClassVar = ("reasons",)

    winner_uuid: Named
    loser_uuid: Named
    source_id: str | None = None
    reasons: list[str] = []
    seq: int | None = None
    source: str | None = None


class Unmerged(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``identity.unmerged``: an identity is one of its own again."""

    ALWAYS: ClassVar = ("reasons",)

    resurrected: Named
    former_winner: Named
    reasons: list[str] = []
    seq: int | None = None
    source: str | None = None
