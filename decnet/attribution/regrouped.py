"""What follows when identities became one, or are their own again: their states, verdicts and alerts.

Who is one with whom is worked out in :meth:`~decnet.db.repository.BaseRepository.regroup_identities`; what that
returns is followed here, in the same transaction, whoever changed the edges: linking, or news of others.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping

from decnet.attribution.states import restate
from decnet.db.repository import BaseRepository
from decnet.db.repository.attribution.identities import Moved
from decnet.runtime.worker import TxBus

AT_ONCE = 20
"""Identities whose states are made anew together."""


def _now() -> float:
    """Epoch seconds; tests replace it. It stamps news and decides nothing."""
    return time.time()


async def follow(repo: BaseRepository, bus: TxBus, moved: Mapping[str, tuple[str, str]]) -> None:
    """Brings all that is known of identities up to date; ``moved`` is {identity: (canonical before, after)}.

    Identities that stand for themselves get their states from the observations of all who belong to them now, and
    are examined for several actors again. Those that do not any more have no states, verdicts or standing alerts;
    neither have the verdict and the alert of an identity from which another one left. Twice is once.
    """
    involved = sorted({*moved, *(end for pair in moved.values() for end in pair)})
    await repo.lock_identities(involved)
    names = await repo.canonical_identities(involved)
    standing = [identity for identity in involved if names[identity] == identity]
    merged = [identity for identity in involved if names[identity] != identity]
    wanted = await _wanted(repo, moved, names)
    await repo.put_aside_states(
        (identity, primitive) for identity in merged for primitive in wanted[identity]
    )
    for start in range(0, len(standing), AT_ONCE):
        some = standing[start : start + AT_ONCE]
        keys = {(who, primitive): heard for who in some for primitive, heard in wanted[who].items()}
        await restate(repo, bus, keys, _now())
    left = {before for before, after in moved.values() if before != after}
    outdated = sorted({*merged, *(left & set(standing))})
    await repo.drop_evidence(outdated)
    await repo.close_alerts(outdated, "attribution")
    await repo.mark_due(standing)


async def _wanted(
    repo: BaseRepository, moved: Mapping[str, tuple[str, str]], names: Mapping[str, str]
) -> dict[str, dict[str, float]]:
    """The primitives of which each identity may have a state before or after: those of all that it was one with.

    Each with the time up to which observations were heard of (epoch seconds): what is stored beyond is still to come,
    and would make all that comes late.
    """
    near: dict[str, set[str]] = defaultdict(set)
    for who, (before, after) in moved.items():
        for one in (who, before, after):
            near[one] |= {who, before, after}
            near[names[one]] |= {who, before, after}
    own: dict[str, dict[str, float]] = defaultdict(dict)
    for row in await repo.states_of_identities(near):
        heard = row["last_observation_ts"]
        own[row["identity_uuid"]][row["primitive"]] = float("-inf") if heard is None else heard
    out: dict[str, dict[str, float]] = {one: {} for one in near}
    for one, others in near.items():
        for other in others:
            for primitive, heard in own[other].items():
                out[one][primitive] = max(heard, out[one].get(primitive, heard))
    return out


def composed(steps: Iterable[Mapping[str, tuple[str, str]]]) -> Moved:
    """Several changes of identities, one after the other, as one; who is back where it was did not move."""
    out: Moved = {}
    for step in steps:
        for who, (before, after) in step.items():
            out[who] = (out[who][0] if who in out else before, after)
    return {who: (before, after) for who, (before, after) in out.items() if before != after}
