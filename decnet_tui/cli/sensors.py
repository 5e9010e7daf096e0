"""``sensors``: what the sensors worker last said about each log that it reads."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import typer

from decnet.events.fields import LATEST
from decnet.hostile import visible
from decnet.runtime.health import status_of
from decnet.sensors.files.unwrap import HINTS
from decnet_tui.cli import common, formats
from decnet_tui.figures import losses, troubles, works
from decnet_tui.times import ago, span

KEYS = (
    "kind", "path", "state", "age_s", "last_line", "files", "lines", "bytes_behind", "refused", "reasons",
    "last_refusal", "rotations", "truncations", "vanished", "lost_bytes", "changes", "problems", "passed_over",
    "passed_over_count", "stale", "waiting", "repeated", "joined_lines", "cut", "unknown", "unknown_ids", "bad_utf8",
    "homeless", "unfinished", "given_up", "open_sessions", "evicted", "overfull", "published", "unpublishable",
    "recordings_missing", "recordings_too_large", "names", "commands_dropped", "items_dropped", "clock_jumps", "last_jump",
    "left_out", "left_ids", "not_derived", "elements_dropped",
)  # fmt: skip
NAMED = 20
"""Files passed over that are named as text; ``--json`` has more of them."""
CHANGES_NAMED = 5
_SHOWN = frozenset({"files", "bytes_behind", "open_sessions", "passed_over_count"})
"""Counts with a column or a line of their own."""
_COLUMNS = ("kind", "state", "last line", "lines", "bytes_behind", "refused", "path", "why")


app = typer.Typer(
    name="sensors",
    help="The logs that are read; which formats there are tables for; what comes out of a file.",
    invoke_without_command=True,
    rich_markup_mode=None,
)
formats.register(app)


@app.callback()
def sensors(
    ctx: typer.Context,
    as_json: common.AsJson = False,
    limit: common.Limit = 100,
    since: common.Since = None,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Every sensor: path, age of the last line, bytes behind, lines refused and why; rotations, truncations, files that
    are not read and why not; --since: last line newer."""
    if ctx.invoked_subcommand is not None:
        return
    settings = common.settings_of(config, data_dir=data_dir, db=db)
    newest = common.parse_since(since)

    async def ask() -> list[Mapping[str, Any]]:
        async with common.repository(settings, only_read=True) as repo:
            return [row["payload"] or {} for row in await repo.heartbeats() if row["worker"] == "sensors"]

    rows = [
        row
        for payload in common.run(ask)
        for row in rows_of(payload, time.time(), settings.runtime.heartbeat_s)
        if newest is None or (row["last_line"] is not None and row["last_line"] >= newest)
    ][: limit or None]
    shown = rows if as_json else [{**row, "last line": ago(row["age_s"]), "why": _why(row)} for row in rows]
    empty = "no sensor: give the engine a log with --sensor cowrie=PATH, or T-Pot's top directory with --sensor tpot=/data"
    if newest is not None:
        empty = "no sensor has a line so young: ask without --since to see them all"
    common.print_rows(shown, _COLUMNS, as_json, empty)
    for row in () if as_json else rows:
        if more := _more(row):
            typer.echo(f"\n{visible(str(row['path']), 500)}")
        for text in more:
            typer.echo(f"  {visible(text, 1000)}")


def _more(row: Mapping[str, Any]) -> list[str]:
    """What else there is to say of a sensor, a line each: counts, changes of its files, files that are not read."""
    shown = {key: value for key, value in row.items() if key not in _SHOWN}
    counts = [*losses(shown), *troubles(shown), *works(shown)]
    unknown = [f"{name} {count}" for name, count in _items(row["unknown_ids"])]
    left = [f"{name} {count}" for name, count in _items(row["left_ids"])]
    passed = [f"not read: {path}: {why}" for path, why in _items(row["passed_over"])]
    count = row["passed_over_count"]
    more = (count if isinstance(count, int) else 0) - len(passed[:NAMED])
    return [
        *([", ".join(counts)] if counts else []),
        *([f"kinds not known: {', '.join(unknown)}"] if unknown else []),
        *([f"left out: {', '.join(left)}"] if left else []),
        *([f"last line refused: {row['last_refusal']}"] if row["last_refusal"] else []),
        *([f"last jump of a clock: {row['last_jump']}"] if row["last_jump"] else []),
        *(
            f"sensor {name.get('name')} is called {name.get('token')} here"
            for name in _mappings(row["names"])
        ),
        *(_change(change) for change in (row["changes"] or [])[-CHANGES_NAMED:]),
        *(f"has not grown for {_lasting(age)}: {path}" for path, age in _items(row["stale"])),
        *passed[:NAMED],
        *([f"not read: {more} more files"] if passed and more > 0 else []),
    ]


def _lasting(seconds: Any) -> str:
    return span(seconds) if isinstance(seconds, (int, float)) else str(seconds)


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _items(value: Any) -> list[tuple[Any, Any]]:
    return list(value.items()) if isinstance(value, Mapping) else []


def _change(change: Mapping[str, Any]) -> str:
    """One change of a file: when, what, which, and what was lost with it."""
    to = f" to {change['to']}" if change.get("to") else ""
    lost = f", {change['unread_bytes']} bytes had not been read" if change.get("unread_bytes") else ""
    return f"{change['what']} at {change['ts']:%Y-%m-%d %H:%M:%S} UTC: {change['path']}{to}{lost}"


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
        "changes": _changes(row.get("changes")),
    }
    return {key: extra.get(key, row.get(key)) for key in KEYS}


def _changes(found: Any) -> list[dict[str, Any]]:
    """The changes that a heartbeat tells, with their times; what is no change is left out."""
    return [
        {"what": "", "path": "", **c, "ts": datetime.fromtimestamp(c["ts"], UTC)}
        for c in _mappings(found)
        if isinstance(c.get("ts"), (int, float)) and 0 <= c["ts"] < LATEST
    ]


def _why(row: Mapping[str, Any]) -> str:
    reasons = row.get("reasons") or {}
    problems = row.get("problems") or {}
    said = [
        f"{reason} {count}" + (f" ({HINTS[reason]})" if reason in HINTS else "")
        for reason, count in _items(reasons)
    ]
    waiting = [str(row["waiting"])] if row.get("waiting") else []
    return "; ".join([*waiting, *said, *(str(why) for _, why in _items(problems))])


def register(root: typer.Typer) -> None:
    """Adds the group."""
    root.add_typer(app)
