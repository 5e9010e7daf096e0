"""``sensors``: what the sensors worker last said about each log that it reads."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import typer

from decnet.hostile import visible
from decnet.runtime.health import status_of
from decnet_tui.cli import common
from decnet_tui.times import ago

KEYS = (
    "kind",
    "path",
    "state",
    "age_s",
    "last_line",
    "files",
    "lines",
    "bytes_behind",
    "refused",
    "reasons",
    "last_refusal",
    "clock_jumps",
    "last_jump",
    "repeated",
    "commands_dropped",
    "items_dropped",
    "rotations",
    "problems",
)
_LOST = ("commands_dropped", "items_dropped")
_COLUMNS = ("kind", "state", "last line", "lines", "bytes_behind", "refused", "path", "why")


def sensors(
    as_json: common.AsJson = False,
    limit: common.Limit = 100,
    since: common.Since = None,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Every sensor: path, age of the last line, bytes behind, lines refused and why; --since: last line newer."""
    settings = common.settings_of(config, data_dir=data_dir, db=db)
    newest = common.parse_since(since)

    async def ask() -> list[Mapping[str, Any]]:
        async with common.repository(settings) as repo:
            return [row["payload"] or {} for row in await repo.heartbeats() if row["worker"] == "sensors"]

    rows = [
        row
        for payload in common.run(ask)
        for row in rows_of(payload, time.time(), settings.runtime.heartbeat_s)
        if newest is None or (row["last_line"] is not None and row["last_line"] >= newest)
    ][: limit or None]
    shown = rows if as_json else [{**row, "last line": ago(row["age_s"]), "why": _why(row)} for row in rows]
    empty = "no sensor: give the engine a log with --sensor cowrie=PATH"
    if newest is not None:
        empty = "no sensor has a line so young: ask without --since to see them all"
    common.print_rows(shown, _COLUMNS, as_json, empty)
    for row in () if as_json else rows:
        if row["last_refusal"]:
            typer.echo(f"last line refused: {visible(row['last_refusal'], 500)}")
        if row["last_jump"]:
            typer.echo(f"clock jumped ({row['clock_jumps']}), last of {visible(row['last_jump'], 500)}")
        if lost := [f"{row[key]} {key[:-8]}" for key in _LOST if row[key]]:
            typer.echo(f"found no room in their sessions: {', '.join(lost)} ({visible(row['path'], 500)})")


def rows_of(payload: Mapping[str, Any], now: float, heartbeat_s: float) -> list[dict[str, Any]]:
    """The sensors of one heartbeat; with a worker that is not there any more nothing is known to be ok."""
    status = status_of(dict(payload), now, heartbeat_s)
    gone = status in ("stale", "stopped", "failed")
    found = payload.get("sensors")
    return (
        [_row(row, status if gone else "", now) for row in found if isinstance(row, Mapping)]
        if isinstance(found, list)
        else []
    )


def _row(row: Mapping[str, Any], instead: str, now: float) -> dict[str, Any]:
    stamp = row.get("last_line_ts")
    last = float(stamp) if isinstance(stamp, (int, float)) else None
    extra = {
        "state": f"worker {instead}" if instead else row.get("state"),
        "age_s": None if last is None else round(now - last, 1),
        "last_line": None if last is None else datetime.fromtimestamp(last, UTC),
    }
    return {key: extra.get(key, row.get(key)) for key in KEYS}


def _why(row: Mapping[str, Any]) -> str:
    reasons = row.get("reasons") or {}
    problems = row.get("problems") or {}
    said = [f"{reason} {count}" for reason, count in reasons.items()] if isinstance(reasons, Mapping) else []
    return "; ".join([*said, *(map(str, problems.values()) if isinstance(problems, Mapping) else ())])


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(sensors)
