"""``status``: how things stand, on one screen; exit code 1 when something needs a person."""

from __future__ import annotations

import time

import typer

from decnet.config import Settings
from decnet.hostile import visible
from decnet.runtime.dbwatch import locked_by
from decnet_tui.cli import common
from decnet_tui.cli.sensors import rows_of
from decnet_tui.cli.workers import worker_rows
from decnet_tui.model.actor_names import actor_label, addresses
from decnet_tui.model.rules import StoredRules
from decnet_tui.model.status import Status


def status(
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Engine, sensors, workers, open alerts, and what needs a person; exit code 1 if something does."""
    settings = common.settings_of(config, data_dir=data_dir, db=db)
    found = common.run(lambda: _ask(settings))
    if as_json:
        typer.echo(common.to_json(found.row()))
    else:
        for line in found.lines():
            typer.echo(visible(line, 1000))
    if found.needs():
        raise typer.Exit(1)


async def _ask(settings: Settings) -> Status:
    engine = common.reach(settings)[1]
    async with common.repository(settings, only_read=True) as repo:
        who = await repo.blocked_by()
        beats = [{**(row["payload"] or {}), "worker": row["worker"]} for row in await repo.heartbeats()]
        alerts = await repo.list_alerts(state="open", limit=0)
        known = await addresses(repo, alerts)
        letters = len(await repo.dead_letters(None, 0))
        rules = await StoredRules(settings, repo, "cli", engine=engine is not None).list_rules()
    now, beat_s = time.time(), settings.runtime.heartbeat_s
    sensors = [row for beat in beats if beat.get("worker") == "sensors" for row in rows_of(beat, now, beat_s)]
    return Status(
        None if engine is None else engine.pid,
        worker_rows(beats, locked_by(who) if who else "", now, beat_s),
        sensors,
        [actor_label(row, known, 1) for row in alerts],
        letters,
        [f"{row['rule_id']}: {str(row['error']).splitlines()[0]}" for row in rules if row.get("error")],
    )


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(status)
