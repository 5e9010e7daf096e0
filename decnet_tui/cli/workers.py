"""``workers``: the last heartbeat of every worker and of the engine's parts, and what it means now.

Whether the database can be written is looked up here and now: who cannot write cannot store that he cannot.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import typer

from decnet.config import Settings
from decnet.runtime.dbwatch import locked_by
from decnet.runtime.health import DATABASE, PARTS, process_gone, status_of
from decnet_tui.cli import common
from decnet_tui.figures import notes
from decnet_tui.times import ago

_COLUMNS = ("worker", "status", "heartbeat", "processed", "failed", "dead_lettered", "lag", "notes")
_GONE = frozenset({"stopped", "paused", "failed"})


def workers(
    as_json: common.AsJson = False,
    limit: common.Limit = 100,
    since: common.Since = None,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """The last heartbeat of every worker, of the bus and the database, and what it means now."""
    settings = common.settings_of(config, data_dir=data_dir, db=db)
    newest = common.parse_since(since)
    beats, trouble = common.run(lambda: _ask(settings))
    fresh = [p for p in beats if newest is None or _ts(p) >= newest.timestamp()]
    rows = worker_rows(fresh, trouble, time.time(), settings.runtime.heartbeat_s)[: limit or None]
    shown = [{**row, "heartbeat": ago(row["age_s"]), "notes": "  ".join(notes(row))} for row in rows]
    empty = "no worker has run yet: start `decnet-tui --headless`"
    common.print_rows(rows if as_json else shown, _COLUMNS, as_json, empty, widths={"notes": 300})


async def _ask(settings: Settings) -> tuple[list[dict[str, Any]], str]:
    async with common.repository(settings, only_read=True) as repo:
        who = await repo.blocked_by()
        return [dict(row["payload"] or {}) for row in await repo.heartbeats()], locked_by(who) if who else ""


def _ts(payload: Mapping[str, Any]) -> float:
    value = payload.get("ts")
    return float(value) if isinstance(value, (int, float)) else 0.0


def worker_rows(
    beats: Iterable[Mapping[str, Any]], trouble: str, now: float, heartbeat_s: float
) -> list[dict[str, Any]]:
    """Heartbeats with ``age_s`` and ``status``; ``trouble`` is why the database cannot be written, as of ``now``."""
    rows: list[dict[str, Any]] = [
        {
            **beat,
            "age_s": round(max(now - _ts(beat), 0.0), 1),
            "status": status_of(dict(beat), now, heartbeat_s),
        }
        for beat in beats
    ]
    if not trouble:
        return rows
    kept = [_held(row, trouble) for row in rows if row.get("worker") != DATABASE]
    return [
        {"worker": DATABASE, "state": "locked", "status": "locked", "age_s": 0.0, "ts": now, "note": trouble},
        *kept,
    ]


def _held(row: dict[str, Any], trouble: str) -> dict[str, Any]:
    """A worker that runs waits for the database, whatever its last stored heartbeat says."""
    if row.get("worker") in PARTS or row["status"] in _GONE or process_gone(row):
        return row
    return {**row, "status": "waiting_for_database", "note": trouble}


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(workers)
