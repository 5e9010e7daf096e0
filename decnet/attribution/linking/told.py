"""Identities as an operator is told of them: how sure, why, what speaks against; pure.

Every reason says at how many addresses its value is, so that a common client is seen to be common. How that is laid
out is left to screens.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from math import fsum
from typing import NamedTuple

from decnet.attribution.linking.clusters import pair
from decnet.attribution.linking.linker import Linker
from decnet.attribution.linking.scoring import Against, Reason, Score

MAX_REASONS = 32
OPERATOR = "operator"
"""The family of what an operator said: its value is the reason that was given, its weight 0, since it is above all."""


class IdentityTold(NamedTuple):
    """One identity."""

    identity_uuid: str
    addresses: list[str]
    """The one that names it first, then by age."""
    attacker_uuids: list[str]
    confidence: float
    """Mean of the totals of its pairs, log10; 0 for a single address."""
    reasons: list[Reason]
    """What its pairs share, each value once, the weightiest first; at most 32."""
    against: list[Against]
    """What speaks against any of its pairs, each family once."""


def identity_told(linker: Linker, address: str) -> IdentityTold:
    """The identity that an address is part of. Raises KeyError for an address that is not known."""
    return told_of(linker, linker.index.members[address])


def told_of(linker: Linker, member: int) -> IdentityTold:
    """The same by the number of an address."""
    members = linker.group(member)
    scores = [linker.scorer.score(one, other) for one, other in combinations(members, 2)]
    reasons = [*_said(linker, members), *_reasons(scores)]
    return IdentityTold(
        linker.uuid(members[0]),
        [linker.address(one) for one in members],
        [linker.index.profiles[one].attacker_uuid for one in members],
        round(fsum(score.total for score in scores) / len(scores), 2) if scores else 0.0,
        reasons[:MAX_REASONS],
        sorted({one for score in scores for one in score.against}, key=lambda one: (one.weight, one.family)),
    )


def _said(linker: Linker, members: Iterable[int]) -> list[Reason]:
    """What an operator said of pairs of an identity."""
    pairs = (pair(*both) for both in combinations(members, 2))
    return [Reason(OPERATOR, linker.musts[one], 2, 0.0, 0.0) for one in pairs if one in linker.musts]


def _reasons(scores: Iterable[Score]) -> list[Reason]:
    best: dict[tuple[str, str], Reason] = {}
    for reason in (reason for score in scores for reason in score.reasons):
        known = best.get((reason.family, reason.value))
        if known is None or reason.then > known.then:
            best[reason.family, reason.value] = reason
    return sorted(best.values(), key=lambda one: (-one.weight, one.family, one.value))
