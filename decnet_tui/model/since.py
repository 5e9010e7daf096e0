"""What happened since a moment: gathered from the store, told in sections. View 0 and ``summary`` share it.

:func:`gather` asks, :func:`tell` is a pure function of the answers.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypedDict

from decnet.attack.catalogue import load_catalogue
from decnet.errors import DecnetError
from decnet.runtime.health import PARTS, status_of
from decnet_tui.model.actor_names import actor_and_id, addresses
from decnet_tui.model.journal import NOBODY, with_expiries
from decnet_tui.model.words import clock, counted, span

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet.db.rows import JsonObject
    from decnet.db.rows.attribution import Alert
    from decnet.db.rows.fleet import MutationRow
    from decnet.db.rows.journal import JournalLine
    from decnet.db.rows.lists import NewAttacker, NewTechnique, SessionWorthReading
    from decnet_tui.model.access import RuleAccess

MAX_SESSIONS = 8
Row = Mapping[str, Any]
"""What stands behind a line: a row of any of the queries."""


class Beat(TypedDict):
    """A worker's last heartbeat, from the store or from the bus."""

    worker: str
    payload: JsonObject | None


@dataclass(frozen=True)
class Item:
    """One line: its text, the data behind it, the view (and row) that it opens, whether it needs attention."""

    key: str
    text: str
    data: Row = field(default_factory=dict)
    opens: tuple[str, Any] | None = None
    bad: bool = False


@dataclass(frozen=True)
class Section:
    """Items of one kind; ``none`` is said when there are none."""

    name: str
    title: str
    items: tuple[Item, ...]
    none: str


@dataclass
class Found:
    """The answers of the store, as rows. Times are aware; ``now`` and ``since`` are epoch seconds."""

    now: float
    since: float
    attackers: Sequence[NewAttacker] = ()
    techniques: Sequence[NewTechnique] = ()
    sessions: Sequence[SessionWorthReading] = ()
    alerts: Sequence[Alert] = ()
    addresses: Mapping[str, str] = field(default_factory=dict)
    """Of the attackers that the alerts name, by their uuid."""
    rules: Sequence[Row] = ()
    journal: Sequence[JournalLine] = ()
    heartbeats: Sequence[Beat] = ()
    rotations: Sequence[MutationRow] = ()
    heartbeat_s: float = 10.0


async def gather(
    repo: BaseRepository,
    rules: RuleAccess,
    since: float,
    heartbeat_s: float,
    now: float | None = None,
) -> Found:
    """Everything that :func:`tell` needs. Raises what the store raises."""
    alerts = await repo.list_alerts(limit=0)
    return Found(
        time.time() if now is None else now,
        since,
        alerts=alerts,
        addresses=await addresses(repo, [row for row in alerts if row["state"] != "resolved"]),
        attackers=await repo.new_attackers(since),
        techniques=await repo.new_techniques(since),
        sessions=await repo.sessions_worth_reading(since, MAX_SESSIONS),
        rotations=await repo.mutations(states=("applied", "failed"), since=since, limit=0),
        rules=await _rule_rows(rules),
        journal=await repo.journal(),
        heartbeats=await repo.heartbeats(),
        heartbeat_s=heartbeat_s,
    )


async def _rule_rows(rules: RuleAccess) -> Sequence[Mapping[str, Any]]:
    """All rules; when the engine's cannot be had, why: the other sections do not wait for them."""
    try:
        return await rules.list_rules()
    except DecnetError as error:
        return [{"rule_id": "rules", "error": str(error)}]


def render(found: Found) -> list[Section]:
    """The sections, in the order in which they matter."""
    return [
        Section("alerts", "open alerts", _alerts(found), "no open alert"),
        Section("sensors", "sensors and workers", _sensors(found), "all sensors and workers are well"),
        Section("attackers", "new sources and identities", _attackers(found), "no new source"),
        Section("techniques", "techniques never seen before", _techniques(found), "no new technique"),
        Section("sessions", "sessions worth reading", _sessions(found), "no session with commands"),
        Section("rules", "rules that failed or expired", _rules(found), "no rule failed or expired"),
        Section("rotations", "decoys rotated", _rotations(found), "no decoy was rotated"),
    ]


def is_empty(sections: Sequence[Section]) -> bool:
    """Whether nothing at all is there to tell."""
    return not any(section.items for section in sections)


def _ago(found: Found, moment: object) -> str:
    return span(found.now - moment.timestamp()) + " ago" if isinstance(moment, datetime) else "?"


def _address(found: Found, alert: Alert) -> str | None:
    return next((ip for a in alert.get("attacker_uuids") or () if (ip := found.addresses.get(a))), None)


def _alerts(found: Found) -> tuple[Item, ...]:
    return tuple(
        Item(str(row.get("alert_id")), f"{_ago(found, row.get('ts'))}  {actor_and_id(row, found.addresses)}  "
             f"{row.get('confidence') or 0.0:.2f}  {' '.join(map(str, row.get('families') or ()))}",
             {**row, "attacker_ip": _address(found, row)}, ("alerts", row.get("alert_id")), bad=True)
        for row in found.alerts if row.get("state") == "open"
    )  # fmt: skip


def _sensors(found: Found) -> tuple[Item, ...]:
    beats = [dict(beat.get("payload") or {}) for beat in found.heartbeats if beat.get("worker") not in PARTS]
    if beats and all(status_of(beat, found.now, found.heartbeat_s) == "stopped" for beat in beats):
        # Its server went with it and could not say so: one line tells it all.
        return (
            Item("engine", "no engine runs here: every worker is stopped", {}, ("workers", None), bad=True),
        )
    items = []
    for beat in found.heartbeats:
        payload = dict(beat.get("payload") or {})
        name, state = str(beat.get("worker")), status_of(payload, found.now, found.heartbeat_s)
        if state not in ("ok", "stopped"):
            why = payload.get("note") or ""
            what = f"the {name}" if name in PARTS else f"worker {name}"
            items.append(Item(name, f"{what} is {state}  {why}", payload, ("workers", name), bad=True))
        sensors = payload.get("sensors")
        for row in sensors if isinstance(sensors, list) else ():
            if isinstance(row, Mapping) and row.get("state") != "ok":
                age = row.get("age")
                last = f"last line {span(age)} ago" if isinstance(age, (int, float)) else "no line yet"
                text = f"sensor {row.get('path')} is {row.get('state')}, {last}"
                items.append(Item(str(row.get("path")), text, row, ("workers", row.get("path")), bad=True))
    return tuple(items)


def _attackers(found: Found) -> tuple[Item, ...]:
    return tuple(
        Item(str(row["attacker_uuid"]), f"{row.get('attacker_ip') or '?':<15} {_ago(found, row.get('first_seen')):<11} "
             f"identity {str(row.get('identity_uuid') or '?')[:8]}", row, ("actors", row["attacker_uuid"]))
        for row in found.attackers
    )  # fmt: skip


def _techniques(found: Found) -> tuple[Item, ...]:
    names = load_catalogue()
    return tuple(
        Item(str(row["technique"]), f"{row['technique']:<10} {names.name(row['technique']) or '?'}: {counted(row['tags'], 'tag')} "
             f"of {counted(row['attackers'], 'source')}", row, ("coverage", row["technique"]))
        for row in found.techniques
    )  # fmt: skip


def _sessions(found: Found) -> tuple[Item, ...]:
    items = []
    for row in found.sessions:
        length = span(row.get("duration_s") or 0)
        loot = f", {counted(row['downloads'], 'download')}" if row.get("downloads") else ""
        text = (
            f"{row.get('attacker_ip') or '?':<15} {row.get('decky_id') or '?'} {row.get('service') or ''}: "
        )
        text += f"{_judged(row)}{counted(row['techniques'], 'technique')}, {counted(row['command_count'], 'command')} in {length}{loot}"
        items.append(Item(str(row["session_id"]), text, row, ("actors", row["session_id"])))
    return tuple(items)


def _judged(row: SessionWorthReading) -> str:
    """What a session amounts to, whether that is new, and how many are like it."""
    if not row.get("severity"):
        return ""
    news = ", first time" if row["new"] else ""
    like = f", {row['alike'] - 1} more like it" if row["alike"] > 1 else ""
    return f"{row['severity']}: {row['severity_reason']}{news}{like}; "


def _rules(found: Found) -> tuple[Item, ...]:
    items = [
        Item(str(row["rule_id"]), f"{row['rule_id']} failed to load: {str(row['error']).splitlines()[0]}",
             row, ("rules", row["rule_id"]), bad=True)
        for row in found.rules if row.get("error")
    ]  # fmt: skip
    for row in with_expiries(found.journal, found.now):
        ended = row["ts"].timestamp()
        if row["operator"] == NOBODY and found.since <= ended <= found.now:
            rule_id, was = str(row["target"]), (row["before"] or {}).get("state")
            text = f"{rule_id} is enabled again: {was} ended {clock(ended, 'date')}Z"
            items.append(Item(rule_id, text, row, ("rules", rule_id)))
    return tuple(items)


def _rotations(found: Found) -> tuple[Item, ...]:
    items = []
    for row in found.rotations:
        outcome = row.get("outcome") or {}
        text = f"{_ago(found, row.get('finished_at') or row.get('created_at'))}  {row.get('target')}: "
        text += f"{_services(outcome.get('old'))} to {_services(outcome.get('new'))}"
        if failed := row.get("state") == "failed":
            text += f"  failed: {row.get('reason')}"
        items.append(Item(str(row.get("mutation_id")), text, row, ("fleet", row.get("target")), bad=failed))
    return tuple(items)


def _services(names: object) -> str:
    return " ".join(map(str, names)) if isinstance(names, (list, tuple)) and names else "-"
