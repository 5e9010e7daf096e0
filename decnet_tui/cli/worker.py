"""``worker``: asks one worker of the running engine to stop, start, restart, pause or resume, and sees it happen.

It takes the console's way: journal, send, and the heartbeat that shows the state asked for.
"""

from __future__ import annotations

from typing import Annotated

import typer

from decnet.bus.remote import is_remote
from decnet.config import Settings
from decnet.runtime import KNOWN_WORKERS
from decnet_tui.actions.changes import Outcome
from decnet_tui.actions.workers import ACTIONS, WorkerControl
from decnet_tui.cli import common
from decnet_tui.model.journal import End


def worker(
    action: Annotated[str, typer.Argument(help="stop, start, restart, pause or resume")],
    name: Annotated[str, typer.Argument(help="worker, or sensor-NAME for a remote sensor")],
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Asks one worker of the running engine to stop, start, restart, pause or resume; exit 1 unless it did."""
    if action not in ACTIONS:
        raise typer.BadParameter(f"{action!r}: use {', '.join(ACTIONS)}")
    if name not in KNOWN_WORKERS and not is_remote(name):
        raise typer.BadParameter(
            f"unknown worker {name!r:.60}; known: {', '.join(KNOWN_WORKERS)}, and sensor-NAME for a remote sensor"
        )
    settings = common.settings_of(config, data_dir=data_dir, db=db)
    change = WorkerControl(name, action)
    outcome = common.run(lambda: _perform(settings, change))
    if outcome.end is not End.VERIFIED:
        common.fail(outcome.text(change.what))
    said = {"worker": name, "action": action, "outcome": outcome.end.value}
    typer.echo(common.to_json(said) if as_json else outcome.text(change.what))


async def _perform(settings: Settings, change: WorkerControl) -> Outcome:
    from decnet_tui.cli import changing

    async with changing.opened(settings, engine=True) as session:
        return await changing.perform(session, change)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(worker)
