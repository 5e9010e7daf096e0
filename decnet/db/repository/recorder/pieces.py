"""What the endings of one session come to: parts of an ending, endings of a piece, pieces of a session; pure.

A session whose lines were read in several goes (an older file after a newer one, a sensor without its checkpoint)
is ended in pieces that know nothing of each other. Putting them together does not depend on the order in which
they arrive.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from decnet.events.lives import JITTER_S

Row = dict[str, Any]
LAST = (
    "end_reason", "duration_s", "command_count", "commands_dropped", "items_dropped", "client", "auth", "keystrokes_ref",
)  # fmt: skip
"""What the last part of an ending says."""
LISTS = ("downloads", "uploads", "forwards", "inputs", "exploits", "joined", "extras")


def generation(payload: Mapping[str, Any], ended: str, parts: int) -> str:
    """What tells an ending from others of its session: in one piece, the one of more lines is the greater."""
    piece = payload.get("piece")
    if not piece:
        return f"{ended}|{parts:06d}"
    return f"{piece}|{int(payload.get('lines') or 0):09d}|{parts:06d}"


def endings(rows: Iterable[Row]) -> list[Row]:
    """The latest complete ending of each piece, earliest first; ``rows`` are the stored parts of one session."""
    pieces: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        pieces[row["body"].get("piece") or ""][row["generation"]].append(row)
    found = []
    for by_age in pieces.values():
        complete = [age for age, some in by_age.items() if len(some) >= some[0]["parts"]]
        if complete:
            parts = sorted(by_age[max(complete)], key=lambda row: int(row["part"]))
            found.append(_ending([row["body"] for row in parts]))
    return sorted(found, key=_place) if len(found) > 1 else found


def _place(one: Row) -> tuple[float, str]:
    """By the first line that was read; alike ones in an order that is always the same."""
    first = one["span"][0] if one["span"] else one["started_at"] or 0.0
    return float(first), json.dumps(one, sort_keys=True, default=str)


def _ending(bodies: Sequence[Row]) -> Row:
    values: Row = {"ended_at": bodies[-1]["ended_at"], "started_at": bodies[-1].get("started_at")}
    for name in (*LAST, "failed_at", "torn", "span"):
        values[name] = next((body[name] for body in reversed(bodies) if body.get(name) is not None), None)
    for name in LISTS:
        values[name] = _once(body.get(name) for body in bodies)
    facts = {name: value for body in bodies for name, value in (body.get("facts") or {}).items()}
    values["facts"] = facts or None
    return values


def whole(found: Sequence[Row]) -> Row:
    """The endings of all pieces as one; the columns of the session's row. Of one piece it is that one."""
    row = found[0] if len(found) == 1 else _merged(found)
    starts = starts_of(found)
    return {
        **{name: row[name] for name in ("ended_at", *LAST, "facts", *LISTS)},
        "started_at": min(starts, default=None),
    }


def starts_of(found: Sequence[Row]) -> list[float]:
    """Known starts; what a torn piece tells counts where there is nothing better."""
    exact = [one["started_at"] for one in found if not one["torn"] and one["started_at"] is not None]
    return exact or [one["started_at"] for one in found if one["started_at"] is not None]


def _merged(found: Sequence[Row]) -> Row:
    closed = [one for one in found if one["end_reason"] == "closed"]
    last = max(closed or found, key=lambda one: float(one["ended_at"]))
    return {
        "ended_at": last["ended_at"],
        "end_reason": last["end_reason"],
        "duration_s": _duration(last, min(starts_of(found), default=None)),
        "client": _client(found),
        "auth": _auth(found),
        "keystrokes_ref": next((k for one in reversed(found) if (k := one["keystrokes_ref"])), None),
        **{name: _most(found, name) for name in ("command_count", "commands_dropped", "items_dropped")},
        "facts": {name: value for one in found for name, value in (one["facts"] or {}).items()} or None,
        **{name: _once(one[name] for one in found) for name in LISTS},
    }


def _duration(last: Row, start: float | None) -> float | None:
    """What the close line told, unless that only counted what its own piece knew."""
    told: float | None = last["duration_s"]
    if start is None or (last["end_reason"] == "closed" and start >= (last["started_at"] or 0) - JITTER_S):
        return told
    return max(float(last["ended_at"]) - start, 0.0)


def _most(found: Sequence[Row], name: str) -> int | None:
    return max((one[name] for one in found if one[name] is not None), default=None)


def _client(found: Sequence[Row]) -> Row | None:
    told = [one["client"] for one in found if one["client"]]
    if not told:
        return None
    keys = dict.fromkeys(key for client in told for key in client)
    return {key: next((c[key] for c in told if c.get(key)), told[0].get(key)) for key in keys}


def _auth(found: Sequence[Row]) -> Row | None:
    """Failed log-ins count once each by their times; those beyond the times that were told count in their piece."""
    told = [(one["auth"], one["failed_at"] or []) for one in found if one["auth"]]
    if not told:
        return None
    times = {ts for _, failed in told for ts in failed}
    beyond = max(int(auth.get("fail_count") or 0) - len(failed) for auth, failed in told)
    names = [name for auth, _ in told for name in auth.get("usernames") or []]
    return {
        "fail_count": len(times) + max(beyond, 0),
        "success": any(auth.get("success") for auth, _ in told),
        "usernames": list(dict.fromkeys(names)),
        **({"default_pair": True} if any(auth.get("default_pair") for auth, _ in told) else {}),
    }


def _once(lists: Iterable[Any]) -> list[Any]:
    """All items once, in order."""
    items = (item for some in lists if isinstance(some, list) for item in some)
    return list({json.dumps(item, sort_keys=True): item for item in items}.values())
