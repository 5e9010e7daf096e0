"""What needs a person now: open alerts, rules that do not stand as they should, sensors, workers, decoys. Knows no terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from decnet.runtime.health import PARTS, status_of
from decnet_tui.model.actor_names import actor_and_id
from decnet_tui.model.journal import NOBODY, with_expiries
from decnet_tui.model.words import clock, end_of, span

if TYPE_CHECKING:
    from decnet.db.rows.attribution import Alert
    from decnet.db.rows.since import SinceRows
    from decnet_tui.model.since import Beat

PATH_ROOM = 40
"""Characters of a sensor's path: what is the matter with it stands behind."""


class Need(NamedTuple):
    """One line: its key, text, the data behind it, the view and row that it opens, whether it is bad."""

    key: str
    text: str
    data: Mapping[str, Any]
    opens: tuple[str, Any] | None
    bad: bool = True

    @property
    def kind(self) -> str:
        """What it is about: the view that it opens."""
        return self.opens[0] if self.opens else ""


class Asked(Protocol):
    """The answers that needs are read from."""

    now: float
    rows: SinceRows
    rules: Sequence[Mapping[str, Any]]
    heartbeats: Sequence[Beat]
    heartbeat_s: float


def needs(found: Asked) -> list[Need]:
    """Everything, in the order of the views but for the alerts, which come first."""
    return [*_alerts(found), *_rules(found), *_changes(found), *_sensors(found)]


def _ago(now: float, moment: object) -> str:
    return span(now - moment.timestamp()) + " ago" if isinstance(moment, datetime) else "?"


def _alerts(found: Asked) -> Iterator[Need]:
    for row in found.rows.alerts:
        if row["state"] != "open":
            continue
        who = actor_and_id(row, found.rows.addresses)
        text = f"alert {_ago(found.now, row['ts'])}: {who} perhaps several operators, {' '.join(map(str, row['families'] or ()))}"
        data = {**row, "attacker_ip": _address(found, row)}
        yield Need(row["alert_id"], text, data, ("alerts", row["alert_id"]))


def _address(found: Asked, alert: Alert) -> str | None:
    known = found.rows.addresses
    return next((ip for uuid in alert["attacker_uuids"] or () if (ip := known.get(uuid))), None)


def _rules(found: Asked) -> Iterator[Need]:
    for row in found.rules:
        rule = str(row["rule_id"])
        if row.get("error"):
            text = f"rule {rule} failed to load: {str(row['error']).splitlines()[0]}"
            yield Need(rule, text, row, ("rules", rule))
        elif (state := row.get("state") or "enabled") not in ("enabled", "failed"):
            until = f" until {clock(row['expires_at'], 'date')[5:16]}Z" if row.get("expires_at") else ""
            how = "off" if state == "disabled" else f"clipped to {row.get('confidence_max')}"
            by = f" ({row['set_by']})" if row.get("set_by") else ""
            yield Need(rule, f"rule {rule} {how}{until}{by}", row, ("rules", rule), bad=False)
    begin, end = found.rows.begin.timestamp(), found.rows.end.timestamp()
    for line in with_expiries(found.rows.journal, found.now):
        ended = line["ts"].timestamp()
        if line["operator"] == NOBODY and begin <= ended <= end:
            rule, was = str(line["target"]), (line["before"] or {}).get("state")
            text = f"rule {rule} is enabled again: {was} expired {clock(ended, 'date')}Z"
            yield Need(f"{rule} expired", text, line, ("rules", rule), bad=False)


def _changes(found: Asked) -> Iterator[Need]:
    for row in found.rows.changes:
        if row["state"] == "failed":
            when = _ago(found.now, row["finished_at"] or row["created_at"])
            text = f"decoy {row['target']} could not be changed {when}: {row['reason']}"
            yield Need(row["mutation_id"], text, row, ("fleet", row["target"]))


def _sensors(found: Asked) -> Iterator[Need]:
    beats = [dict(beat.get("payload") or {}) for beat in found.heartbeats if beat.get("worker") not in PARTS]
    if beats and all(status_of(beat, found.now, found.heartbeat_s) == "stopped" for beat in beats):
        # Its server went with it and could not say so: one line tells it all.
        yield Need("engine", "no engine runs here: every worker is stopped", {}, ("workers", None))
        return
    for beat in found.heartbeats:
        payload = dict(beat.get("payload") or {})
        name, state = str(beat.get("worker")), status_of(payload, found.now, found.heartbeat_s)
        if state not in ("ok", "stopped"):
            note = payload.get("note") or ""
            what = f"the {name}" if name in PARTS else f"worker {name}"
            yield Need(name, f"{what} is {state}  {note}".rstrip(), payload, ("workers", name))
        sensors = payload.get("sensors")
        for row in sensors if isinstance(sensors, list) else ():
            if isinstance(row, Mapping) and row.get("state") != "ok":
                age = row.get("age")
                last = f"last line {span(age)} ago" if isinstance(age, (int, float)) else "no line yet"
                text = f"sensor {end_of(str(row.get('path')), PATH_ROOM)} is {row.get('state')}, {last}"
                yield Need(str(row.get("path")), text, row, ("workers", row.get("path")))
