"""``iocs``: indicators of a session, a source, a campaign or a span, as text, JSON or CSV."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from decnet.errors import DecnetError
from decnet_tui.cli import common
from decnet_tui.model.iocs import KINDS, Indicators, Ioc, csv_text, text_lines

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository


def iocs(
    session: Annotated[
        str | None,
        typer.Option("--session", help="Of one session: its id, a beginning of it, or the honeypot's own."),
    ] = None,
    attacker: Annotated[
        str | None, typer.Option("--attacker", help="Of one source: its address or id.")
    ] = None,
    campaign: Annotated[
        str | None, typer.Option("--campaign", help="Of one campaign: its id, or a beginning.")
    ] = None,
    since: common.Since = None,
    kind: Annotated[
        list[str] | None, typer.Option("--kind", help=f"Only {', '.join(KINDS)}. Repeatable.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="At most so many; 0 is all.")] = 0,
    ignored: common.Ignored = False,
    as_json: common.AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="A table for spreadsheets.")] = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Addresses, hosts, URLs, hashes, paths, log-ins that were let in, keys: each once, with who had it and when."""
    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv are two forms of one list: choose one")
    if wrong := [name for name in kind or () if name not in KINDS]:
        raise typer.BadParameter(f"no kind {wrong[0]}; there are {', '.join(KINDS)}")
    settings = common.settings_of(config, data_dir=data_dir, db=db)
    newest = common.parse_since(since)
    found = Indicators()

    async def ask() -> list[Ioc]:
        async with common.repository(settings) as repo:
            await _collect(
                repo, found, session, attacker, campaign, newest, ignored, settings.credentials.keep_clear
            )
        return found.rows()

    rows = [row for row in common.run(ask) if not kind or row["kind"] in kind]
    shown = rows[: limit or None]
    if as_json:
        typer.echo(common.to_json(shown))
    elif as_csv:
        typer.echo(csv_text(shown), nl=False)
    else:
        for line in text_lines(shown):
            typer.echo(line)
        if not shown:
            typer.echo("no indicator: nothing of that is stored, or it brought and named nothing")
    if found.left_out:
        typer.echo(
            f"{found.left_out} more were left out: name a session, a source or a shorter span", err=True
        )


async def _collect(
    repo: BaseRepository, found: Indicators, session: str | None, attacker: str | None, campaign: str | None,
    since: datetime | None, ignored: bool, clear: bool,
) -> None:  # fmt: skip
    from decnet.db.repository.conditions import Whose  # here, like all of the database's library

    only = None
    if session is not None:
        named = await repo.session_named(session)
        if named is None:
            raise DecnetError(f"no session {session}: `decnet-tui sessions` lists them")
        only = [named]
    whose = Whose()
    if campaign is not None:
        known = await repo.campaign_named(campaign)
        if known is None:
            raise DecnetError(f"no campaign {campaign}: `decnet-tui campaigns` lists them")
        whose = Whose(campaign=known[0])
    # Who names one thing wants to see it, ignored or not.
    everything = ignored or session is not None or attacker is not None
    async for rows in repo.evidence(since, attacker, only, everything, whose=whose, clear=clear):
        for one in rows:
            found.add(one)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(iocs)
