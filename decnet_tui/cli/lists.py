"""Lists: tags, sessions, attackers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from decnet.config import Settings
from decnet_tui.cli import common, emptiness

Attacker = Annotated[str | None, typer.Option("--attacker", help="Address or uuid.")]
Session = Annotated[str | None, typer.Option("--session", help="Session id.")]
Technique = Annotated[str | None, typer.Option("--technique", help="ATT&CK id, for example T1105.")]

_NO_MATCH = "nothing matches: ask without"


def _empty(filters: Mapping[str, Any]) -> str:
    """What fills an empty list; with filters it may be they that emptied it."""
    used = [f"--{name}" for name in ("since", "attacker", "session", "technique") if filters.get(name)]
    return f"{_NO_MATCH} {' '.join(used)} to see more" if used else emptiness.NOTHING


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
    """Tags, by when the attacker did it, newest first; --since means that too."""
    from decnet.attack.catalogue import load_catalogue

    filters = {
        "since": common.parse_since(since), "attacker": attacker, "session": session, "technique": technique, "limit": limit, "ignored": ignored,
    }  # fmt: skip
    settings = common.settings_of(config, data_dir=data_dir, db=db)
    rows, why = common.run(lambda: _tags(settings, filters))
    named = [
        {**row, "technique_name": load_catalogue().name(row["sub_technique_id"] or row["technique_id"])}
        for row in rows
    ]
    shown = [{**row, "technique": row["sub_technique_id"] or row["technique_id"]} for row in named]
    columns = (
        "seen_at",
        "created_at",
        "technique",
        "technique_name",
        "confidence",
        "rule_id",
        "attacker_ip",
        "evidence",
    )
    common.print_rows(named if as_json else [_with_evidence(r) for r in shown], columns, as_json, why)


async def _tags(settings: Settings, filters: Mapping[str, Any]) -> tuple[Sequence[Mapping[str, Any]], str]:
    """The rows, and what to say when there are none."""
    async with common.repository(settings) as repo:
        rows = await repo.list_tags(**filters)
        if rows:
            return rows, ""
        if (why := _empty(filters)) != emptiness.NOTHING and await repo.list_tags(limit=1):
            return rows, why
        return rows, await emptiness.why_no_tags(repo, settings.runtime.heartbeat_s)


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
            rows: Sequence[Mapping[str, Any]] = await getattr(repo, method)(**filters)
            return rows

    return common.run(ask)


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for command in (tags, sessions, attackers):
        app.command()(command)
