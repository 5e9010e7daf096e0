"""The states of primitives: recomputed from stored rows, told when they change.

A state is a function of the last rows up to the newest observation heard of, so the order and number of
deliveries do not matter for where it ends. Steps are taken in order of time, one for each observation
of a batch, so that a batch tells of the same transitions as its observations one by one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from decnet.attribution.mergers import merge_primitive
from decnet.attribution.since import NEAR_ROWS_READ, Look, Since, dated, held_before, rows_read
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
MAX_ATTACKERS = 500
"""Attackers named in one event."""


async def recompute(
    repo: BaseRepository,
    bus: TxBus,
    keys: Mapping[Key, Collection[float]],
    now: float,
) -> None:
    """Brings the states of ``keys`` up to their observations at these times (epoch seconds) and tells of changes.

    One time for each observation, also where several were at once: so many rows are read more.
    Belongs in a write transaction.
    """
    old = await repo.told_states(keys)
    late = {key for key, times in keys.items() if _is_late(times, old.get(key))}
    wanted = _wanted(keys, old, late)
    windows = await repo.observation_windows(wanted)

    def walked(key: Key) -> tuple[Key, list[tuple[PrimitiveState | None, PrimitiveState]]]:
        return key, replayed(key, old.get(key), *windows[key], keys[key])

    steps = {key: found for key, found in await in_turns(walked, sorted(keys)) if found}
    ends = {key: found[-1][1] for key, found in steps.items()}
    looks = {
        key: Look(ends[key]["state"], windows[key][0], *wanted[key], held_before(keys[key], old[key]))
        for key in late & ends.keys()
    }
    looks |= {
        key: Look(end["state"], (), 0, wanted[key][1])
        for key, end in ends.items()
        if key not in late and _is_gone(old.get(key), windows[key][0])
    }
    since = await dated(repo, looks)
    told = [step for found in steps.values() for step in found if _is_news(*step)]
    members = await repo.members_of({new["identity_uuid"] for _, new in told})
    for before, after in told:
        await _publish_change(bus, before, after, members[after["identity_uuid"]], now)
    await repo.upsert_attribution_states(
        [
            {**end, "last_change_ts": since[key].at} if key in since and not since[key].older else end
            for key, end in ends.items()
        ]
    )


async def restate(repo: BaseRepository, bus: TxBus, keys: Mapping[Key, float], now: float) -> None:
    """Makes the states of ``keys`` anew from their rows, for attackers that are others than before; tells of changes.

    Each key says up to when its observations were heard of (epoch seconds).
    A key without observations has no row afterwards. Belongs in a write transaction that holds the identities.
    """
    old = await repo.told_states(keys)
    wanted = {key: (rows_read(key[1]) + NEAR_ROWS_READ, heard) for key, heard in keys.items()}
    windows = await repo.observation_windows(wanted)

    def made(key: Key) -> tuple[Key, PrimitiveState]:
        rows, total = windows[key]
        return key, _state(key, old.get(key), rows[-rows_read(key[1]) :], total)

    new = dict(await in_turns(made, sorted(key for key in keys if windows[key][0])))
    since = await dated(
        repo, {key: Look(state["state"], windows[key][0], *wanted[key]) for key, state in new.items()}
    )
    told = [key for key in new if _is_news(old.get(key), new[key])]
    members = await repo.members_of({identity for identity, _ in told})
    for key in told:
        await _publish_change(bus, old.get(key), new[key], members[key[0]], now)
    await repo.put_aside_states(keys.keys() - new.keys())
    await repo.upsert_attribution_states(
        [
            {**state, "last_change_ts": _or_before(since[key], old.get(key), state)}
            for key, state in new.items()
        ]
    )


def _or_before(since: Since, old: PrimitiveState | None, new: PrimitiveState) -> float:
    """Since when a state holds; where it held in all that was read, also since when it was known to hold before."""
    before = old["last_change_ts"] if old is not None and old["state"] == new["state"] else None
    return min(since.at, before) if since.older and before is not None else since.at


def _is_news(old: PrimitiveState | None, new: PrimitiveState) -> bool:
    return old is None or old["state"] != new["state"]


def _wanted(
    keys: Mapping[Key, Collection[float]], old: Mapping[Key, PrimitiveState], late: Collection[Key]
) -> dict[Key, tuple[int, float]]:
    """How many rows to read and until when; of ``late`` ones mostly enough to find the last change anew."""
    out = {}
    for key, times in keys.items():
        last = old[key]["last_observation_ts"] if key in old else None
        count = rows_read(key[1]) + len(times) + (NEAR_ROWS_READ if key in late else 0)
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
