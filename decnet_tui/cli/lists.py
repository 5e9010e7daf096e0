"""Lists: tags, sessions, attackers, workers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from decnet.runtime.health import status_of
from decnet_tui.cli import common
from decnet_tui.times import ago

Attacker = Annotated[str | None, typer.Option("--attacker", help="Address or uuid.")]
Session = Annotated[
    str | None, typer.Option("--session", help="Session id, its beginning, or the honeypot's own.")
]
Technique = Annotated[str | None, typer.Option("--technique", help="ATT&CK id, for example T1105.")]

_EMPTY = "nothing yet: give the engine a log with --sensor cowrie=PATH, or try --demo"
_NO_MATCH = "nothing matches: ask without"


def _empty(filters: Mapping[str, Any]) -> str:
    """What fills an empty list; with filters it may be they that emptied it."""
    used = [f"--{name}" for name in ("since", "attacker", "session", "technique") if filters.get(name)]
    return f"{_NO_MATCH} {' '.join(used)} to see more" if used else _EMPTY


def tags(
    since: common.Since = None,
    attacker: Attacker = None,
    session: Session = None,
    technique: Technique = None,
    limit: common.Limit = 100,
    ignored: common.Ignored = False,
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Tags, newest first."""
    from decnet.attack.catalogue import load_catalogue

    filters = {
        "since": common.parse_since(since), "attacker": attacker, "session": session, "technique": technique, "limit": limit, "ignored": ignored,
    }  # fmt: skip
    rows = _query("list_tags", filters, config, data_dir, db)
    named = [
        {**row, "technique_name": load_catalogue().name(row["sub_technique_id"] or row["technique_id"])}
        for row in rows
    ]
    shown = [{**row, "technique": row["sub_technique_id"] or row["technique_id"]} for row in named]
    columns = (
        "created_at",
        "technique",
        "technique_name",
        "confidence",
        "rule_id",
        "attacker_ip",
        "evidence",
    )
    common.print_rows(
        named if as_json else [_with_evidence(r) for r in shown], columns, as_json, _empty(filters)
    )


def _with_evidence(row: Mapping[str, Any]) -> dict[str, Any]:
    evidence = row.get("evidence")
    text = evidence.get("matched") if isinstance(evidence, dict) else evidence
    return {**row, "evidence": text}


def sessions(
    since: common.Since = None,
    attacker: Attacker = None,
    session: Session = None,
    technique: Technique = None,
    limit: common.Limit = 100,
    ignored: common.Ignored = False,
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Sessions, newest first."""
    filters = {
        "since": common.parse_since(since), "attacker": attacker, "session": session, "technique": technique, "limit": limit, "ignored": ignored,
    }  # fmt: skip
    rows = _query("list_sessions", filters, config, data_dir, db)
    columns = (
        "started_at",
        "attacker_ip",
        "decky_id",
        "service",
        "duration_s",
        "command_count",
        "tag_count",
        "end_reason",
        "sensor_session",
        "session_id",
    )
    common.print_rows(rows, columns, as_json, _empty(filters))


def attackers(
    since: common.Since = None,
    attacker: Attacker = None,
    technique: Technique = None,
    limit: common.Limit = 100,
    ignored: common.Ignored = False,
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Attackers, last seen first."""
    filters = {
        "since": common.parse_since(since),
        "attacker": attacker,
        "technique": technique,
        "limit": limit,
        "ignored": ignored,
    }
    rows = _query("list_attackers", filters, config, data_dir, db)
    columns = (
        "attacker_ip",
        "first_seen",
        "last_seen",
        "session_count",
        "decky_count",
        "techniques",
        "attacker_uuid",
    )
    common.print_rows(rows, columns, as_json, _empty(filters))


def _query(
    method: str, filters: dict[str, Any], config: Any, data_dir: Any, db: Any
) -> Sequence[Mapping[str, Any]]:
    settings = common.settings_of(config, data_dir=data_dir, db=db)

    async def ask() -> Sequence[Mapping[str, Any]]:
        async with common.repository(settings) as repo:
            if filters.get("session"):
                # A list of sessions may show all that have an id; of anything else one has to be meant.
                many = method == "list_sessions"
                named = await (repo.sessions_named if many else repo.session_named)(filters["session"])
                filters["session"] = named or filters["session"]
            rows: Sequence[Mapping[str, Any]] = await getattr(repo, method)(**filters)
            return rows

    return common.run(ask)


def workers(
    as_json: common.AsJson = False,
    limit: common.Limit = 100,
    since: common.Since = None,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """The last heartbeat of every worker and what it means now."""
    settings = common.settings_of(config, data_dir=data_dir, db=db)
    newest = common.parse_since(since)

    async def ask() -> list[dict[str, Any]]:
        async with common.repository(settings) as repo:
            return [row["payload"] for row in await repo.heartbeats()]

    now = time.time()
    beat = settings.runtime.heartbeat_s
    rows = [
        {**p, "age_s": round(max(now - float(p.get("ts") or 0), 0.0), 1), "status": status_of(p, now, beat)}
        for p in common.run(ask)
        if newest is None or float(p.get("ts") or 0) >= newest.timestamp()
    ]
    rows = rows[: limit or None]
    columns = ("worker", "status", "heartbeat", "processed", "failed", "dead_lettered", "lag", "note")
    shown = rows if as_json else [{**row, "heartbeat": ago(row["age_s"])} for row in rows]
    common.print_rows(shown, columns, as_json, "no worker has run yet: start `decnet-tui --headless`")


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for command in (tags, sessions, attackers, workers):
        app.command()(command)
