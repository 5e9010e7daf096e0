"""``find``: one text in everything that attackers left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from decnet_tui.cli import common
from decnet_tui.model.words import counted

if TYPE_CHECKING:
    from decnet.db.rows.lists import Hit

COUNTED = 10_000
"""Hits that are counted for people; of more it is said that there are more."""
_COLUMNS = ("ts", "kind", "attacker_ip", "value", "session_id")


def find(
    text: Annotated[
        str,
        typer.Argument(
            metavar="TEXT", help="Part of a command, address, user, hash, URL, key or campaign's name; an id."
        ),
    ],
    since: common.Since = None,
    limit: common.Limit = 100,
    ignored: common.Ignored = False,
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Commands, addresses, users, hashes, URLs, keys and campaigns that hold TEXT, newest first; an identity by its id."""
    if not text:
        raise typer.BadParameter("give some text to look for")
    settings = common.settings_of(config, data_dir=data_dir, db=db)
    newest = common.parse_since(since)

    async def ask() -> list[Hit]:
        most = max(limit, COUNTED) + 1 if limit and not as_json else limit
        async with common.repository(settings, only_read=True) as repo:
            return await repo.find(text, newest, most, ignored, clear=settings.credentials.keep_clear)

    found = common.run(ask)
    rows = found[: limit or None]
    shown = rows if as_json else [{**row, "value": row.get("login") or row["value"]} for row in rows]
    common.print_rows(shown, _COLUMNS, as_json, "nothing found")
    if len(found) > len(rows) and not as_json:
        beyond = len(found) > max(limit, COUNTED)
        total = f"more than {counted(len(found) - 1, 'hit')}" if beyond else counted(len(found), "hit")
        typer.echo(f"the newest {len(rows)} of {total}; --limit 0 shows all")


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(find)
