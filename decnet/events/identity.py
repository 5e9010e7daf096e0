"""Identities: formed, merged, taken apart again."""

from __future__ import annotations

from decnet.events.record import Record


class Formed(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``identity.formed``: an attacker has an identity of its own now."""

    identity_uuid: str
    attacker_uuids: list[str] = []


class Merged(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``identity.merged``: two identities are one; news of a smaller ``seq`` than the last is old."""

    winner_uuid: str
    loser_uuid: str
    reasons: list[str] = []
    seq: int | None = None


class Unmerged(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``identity.unmerged``: an identity is one of its own again."""

    resurrected: str
    former_winner: str
    reasons: list[str] = []
    seq: int | None = None
