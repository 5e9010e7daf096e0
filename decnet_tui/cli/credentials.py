"""``credentials``: what attackers tried to log in with, secrets as the operator wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from decnet_tui.cli import common

if TYPE_CHECKING:
    from decnet.db.rows.lists import ListedCredential

_COLUMNS = ("last_seen", "attacker_ip", "service", "decky_id", "login", "success", "session_id")


def credentials(
    since: common.Since = None,
    attacker: Annotated[str | None, typer.Option("--attacker", help="Address or uuid.")] = None,
    limit: common.Limit = 100,
    ignored: common.Ignored = False,
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Log-ins that were tried, newest first: user/#a1b2, or clear text where credentials.keep_clear kept it."""
    settings = common.settings_of(config, data_dir=data_dir, db=db)
    newest = common.parse_since(since)

    async def ask() -> list[ListedCredential]:
        async with common.repository(settings, only_read=True) as repo:
            clear = settings.credentials.keep_clear
            return await repo.list_credentials(newest, attacker, limit, ignored, clear=clear)

    common.print_rows(common.run(ask), _COLUMNS, as_json, "no log-in was tried yet")


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(credentials)
