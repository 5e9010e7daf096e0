"""Lists: tags, sessions, attackers, workers."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict, TypeVar

import typer

from decnet.runtime.health import status_of
from decnet_tui.cli import common
from decnet_tui.times import ago

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet.db.rows.lists import ListedTag

R = TypeVar("R")

Attacker = Annotated[str | None, typer.Option("--attacker", help="Address or uuid.")]
Session = Annotated[str | None, typer.Option("--session", help="Session id.")]
Technique = Annotated[str | None, typer.Option("--technique", help="ATT&CK id, for example T1105.")]

_EMPTY = "nothing yet: give the engine a log with --sensor cowrie=PATH, or try --demo"
_NO_MATCH = "nothing matches: ask without"


class Filters(TypedDict):
    """What narrows a list of attackers; the keys are the parameters of its query."""

    since: datetime | None
    attacker: str | None
    technique: str | None
    limit: int
    ignored: bool


class SessionFilters(Filters):
    """What narrows a list of tags or sessions."""

    session: str | None


def _empty(filters: Mapping[str, object]) -> str:
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

    filters: SessionFilters = {
        "since": common.parse_since(since), "attacker": attacker, "session": session, "technique": technique, "limit": limit, "ignored": ignored,
    }  # fmt: skip
    rows = _query(lambda repo: repo.list_tags(**filters), config, data_dir, db)
    named: list[ListedTag] = [
        {**row, "technique_name": load_catalogue().name(row["sub_technique_id"] or row["technique_id"])}
        for row in rows
    ]
    shown = [_for_people(row) for row in named]
    columns = (
        "created_at",
        "technique",
        "technique_name",
        "confidence",
        "rule_id",
        "attacker_ip",
        "evidence",
    )
    common.print_rows(named if as_json else shown, columns, as_json, _empty(filters))


def _for_people(row: ListedTag) -> Mapping[str, object]:
    """With the technique in one column, and of the evidence what matched."""
    evidence = row["evidence"]
    matched = evidence.get("matched") if evidence is not None else None
    return {**row, "technique": row["sub_technique_id"] or row["technique_id"], "evidence": matched}


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
    filters: SessionFilters = {
        "since": common.parse_since(since), "attacker": attacker, "session": session, "technique": technique, "limit": limit, "ignored": ignored,
    }  # fmt: skip
    rows = _query(lambda repo: repo.list_sessions(**filters), config, data_dir, db)
    columns = (
        "started_at",
        "attacker_ip",
        "decky_id",
        "service",
        "duration_s",
        "command_count",
        "tag_count",
        "end_reason",
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
    filters: Filters = {
        "since": common.parse_since(since),
        "attacker": attacker,
        "technique": technique,
        "limit": limit,
        "ignored": ignored,
    }
    rows = _query(lambda repo: repo.list_attackers(**filters), config, data_dir, db)
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
    query: Callable[[BaseRepository], Awaitable[list[R]]],
    config: Path | None,
    data_dir: Path | None,
    db: str | None,
) -> list[R]:
    settings = common.settings_of(config, data_dir=data_dir, db=db)

    async def ask() -> list[R]:
        async with common.repository(settings) as repo:
            return await query(repo)

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
            return [dict(row["payload"] or {}) for row in await repo.heartbeats()]

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
