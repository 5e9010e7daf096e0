"""Is it two operators, or a link that is wrong? What the sides of a claim say about the addresses behind it; pure.

An identity of several addresses is one because links, or others, say so. When its sessions fall on two sides and
each address is on one of them, the sides may as well be two hands that should never have been joined.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from decnet.attribution import thresholds as th
from decnet.db.rows.attribution import IdentityWhy, LinkDoubt, SessionFeatures

SHOWN = 3
"""Reasons of the link that the sentence names."""


def attackers_by_side(
    sessions: Sequence[SessionFeatures], sides: Sequence[Sequence[str]]
) -> list[list[str]] | None:
    """The attackers of each side, sorted; None unless at least 90 % of each side's sessions are of its own ones.

    An attacker is on the side of most of its sessions, the first one of equals.
    """
    owner = {row["session_id"]: row["attacker_uuid"] for row in sessions}
    counts = [Counter(owner[session] for session in side) for side in sides]
    out: list[list[str]] = [[] for _ in sides]
    for attacker in sorted(set(owner.values())):
        mine = [count[attacker] for count in counts]
        out[mine.index(max(mine))].append(attacker)
    for count, own in zip(counts, out, strict=True):
        if not own or sum(count[attacker] for attacker in own) < th.MIN_AGREEMENT * count.total():
            return None
    return out


def doubt_of(
    attackers: Sequence[Sequence[str]], addresses: Mapping[str, str], why: IdentityWhy | None
) -> LinkDoubt:
    """That the link is doubtful, with what it stands on; an attacker without an address is named by its id."""
    return {
        "doubtful": True,
        "sides": [[addresses.get(attacker, attacker) for attacker in side] for side in attackers],
        "confidence": why["confidence"] if why else None,
        "reasons": list(why["reasons"] or ()) if why else [],
    }


def doubt_said(doubt: LinkDoubt) -> str:
    """The same in words."""
    if doubt["confidence"] is None:
        return (
            "the sides are different addresses: it may be wrong that they were merged, which others announced"
        )
    named = ", ".join(f"{reason.get('family')} {reason.get('value')}" for reason in doubt["reasons"][:SHOWN])
    rests = f"confidence {doubt['confidence']:.1f}: {named or 'no reason is kept'}"
    return f"the sides are different addresses: it may be the link that is wrong ({rests})"
