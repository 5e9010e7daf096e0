"""The states of primitives: recomputed from stored rows, told when they change.

A state is a function of the last rows up to the newest observation heard of, so the order and number of
deliveries do not matter for where it ends. Steps are taken in order of time, one for each observation
of a batch, so that a batch tells of the same transitions as its observations one by one.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from decnet.attribution import thresholds as th
from decnet.attribution.kinds import HASH, value_kind
from decnet.attribution.mergers import Seen, evidence, merge_primitive
from decnet.bus import topics
from decnet.db.repository import BaseRepository
from decnet.db.repository.attribution.windows import Key
from decnet.db.rows.attribution import ObservedValue, PrimitiveState
from decnet.events.attribution import StateChanged
from decnet.events.fields import Epoch
from decnet.ids import event_id
from decnet.logs import get_logger
from decnet.runtime.worker import TxBus
from decnet.turns import in_turns

log = get_logger(__name__)
STATE_CHANGED = topics.attribution(topics.ATTRIBUTION_PROFILE_STATE_CHANGED)
FEW = 2
"""States made anew between two turns of others: each looks at up to 200 rows."""
NEAR_ROWS_READ = 40
"""Observations read beside those of a merge when one comes late: mostly it is late by a few."""
SUMMARY = "attacker:"
"""How references to summaries of a day begin; those to sessions begin otherwise."""
MAX_ATTACKERS = 500
"""Attackers named in one event."""


def rows_read(primitive: str) -> int:
    """Observations of one merge."""
    return th.HASH_ROWS_READ if value_kind(primitive) == HASH else th.ROWS_READ


async def recompute(
    repo: BaseRepository,
    bus: TxBus,
    keys: Mapping[Key, Collection[float]],
    now: float,
) -> None:
    """Brings the states of ``keys`` up to their observations at these times (epoch seconds) and tells of changes.

    Belongs in a write transaction.
    """
    old = await repo.told_states(keys)
    late = {key for key, times in keys.items() if _is_late(times, old.get(key))}
    near = {key: held for key in late if (held := _held(keys[key], old[key])) is not None}
    windows = await repo.observation_windows(_wanted(keys, old, late - near.keys(), near))
    gone = {key for key in keys.keys() - late if _is_gone(old.get(key), windows[key][0])}
    moving = {key for key in near if any(_is_summary(row) for row in windows[key][0])}
    far = gone | moving | {key for key, held in near.items() if not _reaches(key, windows[key][0], held)}
    if far:
        windows |= await repo.observation_windows(_wanted({key: keys[key] for key in far}, old, far))

    def walked(key: Key) -> tuple[Key, list[tuple[PrimitiveState | None, PrimitiveState]]]:
        return key, replayed(key, old.get(key), *windows[key], keys[key])

    changed, told = [], []
    for key, steps in await in_turns(walked, sorted(keys)):
        if steps:
            new = steps[-1][1]
            held = near.get(key) if key not in moving else None
            since = _since(key, windows[key][0], new, held) if key in late | gone else None
            changed.append(new if since is None else {**new, "last_change_ts": since})
        told += [(was, is_) for was, is_ in steps if was is None or was["state"] != is_["state"]]
    members = await repo.members_of({new["identity_uuid"] for _, new in told})
    for before, after in told:
        await _publish_change(bus, before, after, members[after["identity_uuid"]], now)
    await repo.upsert_attribution_states(changed)


async def restate(repo: BaseRepository, bus: TxBus, keys: Collection[Key], now: float) -> None:
    """Makes the states of ``keys`` anew from their rows, for attackers that are others than before; tells of changes.

    A key without observations has no row afterwards. Belongs in a write transaction that holds the identities.
    """
    old = await repo.told_states(keys)
    windows = await repo.observation_windows({key: (th.LATE_ROWS_READ, float("inf")) for key in keys})

    def made(key: Key) -> tuple[Key, PrimitiveState | None]:
        return key, _restated(key, old.get(key), *windows[key])

    new = {key: state for key, state in await in_turns(made, sorted(keys), FEW) if state is not None}
    told = [key for key in new if key not in old or old[key]["state"] != new[key]["state"]]
    members = await repo.members_of({identity for identity, _ in told})
    for key in told:
        await _publish_change(bus, old.get(key), new[key], members[key[0]], now)
    await repo.put_aside_states(set(keys) - new.keys())
    await repo.upsert_attribution_states(list(new.values()))


def _restated(
    key: Key, old: PrimitiveState | None, rows: Sequence[ObservedValue], total: int
) -> PrimitiveState | None:
    """The state that rows in order give, None without any; ``total`` is how many there are."""
    if not rows:
        return None
    state = _state(key, old, rows[-rows_read(key[1]) :], total)
    since = _since(key, rows, state)
    if since is None:  # it is older than all that was read
        since = float(rows[rows_read(key[1]) - 1]["ts"])
        if old is not None and old["state"] == state["state"] and old["last_change_ts"] is not None:
            since = min(since, old["last_change_ts"])
    return {**state, "last_change_ts": since}


class Held(NamedTuple):
    """What held up to the observations that came late."""

    first: float
    """The earliest of them."""
    state: str
    since: float


def _held(times: Collection[float], old: PrimitiveState) -> Held | None:
    """What held before late observations, when it had held for longer than since them; None where that is not known."""
    first, since = min(times), old["last_change_ts"]
    return Held(first, old["state"], since) if since is not None and since < first else None


def _reaches(key: Key, rows: Sequence[ObservedValue], held: Held) -> bool:
    """Whether rows show all that late observations may have changed: those since, and a merge before."""
    before = bisect_left(rows, held.first, key=lambda row: row["ts"])
    return before >= rows_read(key[1]) or len(rows) < rows_read(key[1]) + NEAR_ROWS_READ


def _wanted(
    keys: Mapping[Key, Collection[float]],
    old: Mapping[Key, PrimitiveState],
    whole: Collection[Key],
    near: Collection[Key] = (),
) -> dict[Key, tuple[int, float]]:
    """How many rows to read and until when; of ``whole`` ones enough to find the last change anew.

    Of ``near`` ones what a late observation mostly changes.
    """
    out = {}
    for key, times in keys.items():
        last = old[key]["last_observation_ts"] if key in old else None
        more = th.LATE_ROWS_READ if key in whole else rows_read(key[1]) + NEAR_ROWS_READ
        count = max(rows_read(key[1]) + len(times), more if key in whole or key in near else 0)
        out[key] = count, max([*times, *([last] if last is not None else [])])
    return out


def _is_late(times: Collection[float], old: PrimitiveState | None) -> bool:
    """Whether an observation is not newer than the state: it may change the past."""
    return (
        old is not None
        and old["last_observation_ts"] is not None
        and min(times) <= old["last_observation_ts"]
    )


def _is_gone(old: PrimitiveState | None, rows: Sequence[ObservedValue]) -> bool:
    """Whether the observation that the state ended with is no longer there.

    The summary of a day moves with the day's last session: what followed from it before is not to stay.
    """
    last = old["last_observation_ts"] if old else None
    return last is not None and all(row["ts"] != last for row in rows)


def _is_summary(row: ObservedValue) -> bool:
    """Whether it may move, and what held before it with it."""
    return row["evidence_ref"].startswith(SUMMARY)


def _since(
    key: Key, rows: Sequence[ObservedValue], state: PrimitiveState, held: Held | None = None
) -> float | None:
    """The time of the last change as it would be, had every observation come in order.

    Changes before the rows that were read stay where they were; with what ``held`` before late observations nothing
    before them is looked at. Habits repeat: what was merged once is not again.
    """
    read, since, lowest = rows_read(key[1]), None, len(rows)
    times = [row["ts"] for row in rows]
    seen: list[Seen | None] = [None] * lowest
    told: list[object] = [None] * lowest
    known: dict[tuple[object, ...], str] = {}
    for at in sorted(set(times), reverse=True):
        if held is not None and at < held.first:
            return held.since if held.state == state["state"] else since
        end = bisect_right(times, at)
        if end < read and len(rows) >= th.LATE_ROWS_READ:
            return None
        some = slice(max(end - read, 0), end)
        while lowest > some.start:
            lowest -= 1
            seen[lowest] = evidence(rows[lowest])
            told[lowest] = _told(seen[lowest], key[1])
        window = tuple(told[some])
        if window not in known:
            known[window] = merge_primitive(key[1], [one for one in seen[some] if one is not None]).state
        if known[window] != state["state"]:
            break
        since = float(at)
    return since


def _told(one: Seen | None, primitive: str) -> object:
    """All of an observation that a state is decided by: how sure it is decides among values, not among states."""
    if one is None or value_kind(primitive) != HASH:
        return one and one.key
    return one.key, one.ts


def replayed(
    key: Key, old: PrimitiveState | None, rows: Sequence[ObservedValue], total: int, times: Collection[float]
) -> list[tuple[PrimitiveState | None, PrimitiveState]]:
    """(state before, state after) of every step; ``rows`` are the last ones in order, ``total`` their number."""
    last = old["last_observation_ts"] if old else None
    fresh = sorted({at for at in times if last is None or at > last}) or [max([*times, last or 0.0])]
    out: list[tuple[PrimitiveState | None, PrimitiveState]] = []
    for at in fresh:
        seen = [row for row in rows if row["ts"] <= at]
        if not seen:
            continue
        state = _state(key, old, seen[-rows_read(key[1]) :], total - (len(rows) - len(seen)))
        out.append((old, state))
        old = state
    return out


def _state(key: Key, old: PrimitiveState | None, seen: Sequence[ObservedValue], count: int) -> PrimitiveState:
    profile = merge_primitive(key[1], seen)
    last = float(seen[-1]["ts"])
    same = old is not None and old["state"] == profile.state
    return {
        "identity_uuid": key[0],
        "primitive": key[1],
        "current_value": profile.current_value,
        "state": profile.state,
        "confidence": profile.confidence,
        "observation_count": count,
        "last_observation_ts": last,
        "last_change_ts": old["last_change_ts"] if old is not None and same else last,
        "seq": (old["seq"] if old else 0) + (not same),
    }


async def _publish_change(
    bus: TxBus, old: PrimitiveState | None, new: PrimitiveState, attackers: Sequence[str], now: float
) -> None:
    """One transition; its id is derived from the key and its number."""
    told = StateChanged(
        identity_uuid=new["identity_uuid"],
        attacker_uuids=list(attackers[:MAX_ATTACKERS]),
        primitive=new["primitive"],
        old_state=old["state"] if old else None,
        new_state=new["state"],
        current_value=new["current_value"],
        confidence=new["confidence"],
        observation_count=new["observation_count"],
        seq=new["seq"],
        ts=Epoch(now),
    )
    log.debug(
        "attribution state changed",
        identity=new["identity_uuid"],
        primitive=new["primitive"],
        old=told.old_state,
        new=new["state"],
    )
    subject = f"{new['identity_uuid']}|{new['primitive']}"
    ident = event_id("attribution", subject, new["seq"])
    await bus.publish(STATE_CHANGED, told.build(), event_type="state_changed", event_id=ident, ts=now)
