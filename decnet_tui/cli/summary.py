"""``summary``: what happened since; the same as the console's first view."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from decnet.hostile import visible
from decnet_tui.cli import common
from decnet_tui.model import spans
from decnet_tui.model.days import parse_day
from decnet_tui.model.rules import StoredRules
from decnet_tui.model.since import Found, Section, as_json, busiest, gather, render, totals_line
from decnet_tui.model.words import clock

Since = Annotated[
    str, typer.Option("--since", help="90s, 15m, 24h, 7d, today, yesterday, a date; `all` for everything.")
]


def summary(
    since: Since = "24h",
    day: Annotated[
        str | None, typer.Option("--day", help="One day alone (UTC): today, yesterday, 2026-11-28 or 11-28.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Sources at most; 0 is all.")] = 20,
    as_json_: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """What happened since: whom to read first, what is new in the history, what needs somebody."""
    settings = common.settings_of(config, data_dir=data_dir, db=db)
    chosen = _of_day(day) if day is not None else _chosen(since)

    async def ask() -> Found:
        async with common.repository(settings) as repo:
            rules = StoredRules(settings, repo, "cli", engine=common.reach(settings)[1] is not None)
            clear = settings.credentials.keep_clear
            return await gather(repo, rules, chosen, settings.runtime.heartbeat_s, limit=limit, clear=clear)

    found = common.run(ask)
    if as_json_:
        typer.echo(common.to_json(as_json(found, limit)))
        return
    typer.echo(_label(chosen))
    typer.echo(f"{totals_line(found.rows)}   {busiest(found.rows)}".rstrip())
    for section in render(found):
        _print(section)


def _of_day(text: str) -> spans.Chosen:
    """One day. Raises typer.BadParameter."""
    try:
        found = parse_day(text, datetime.now(UTC))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return spans.Chosen(found.label, found.start.timestamp(), found.end.timestamp())


def _chosen(text: str) -> spans.Chosen:
    """Everything since a moment. Raises typer.BadParameter."""
    moment = None if text == spans.EVERYTHING else common.parse_since(text)
    return spans.Chosen(text, moment.timestamp() if moment is not None else 0.0)


def _label(chosen: spans.Chosen) -> str:
    if chosen.end is not None:
        return f"{chosen.label}, the whole day (UTC)"
    return f"since {clock(chosen.begin, 'date')}Z" if chosen.begin else "everything that is stored"


def _print(section: Section) -> None:
    if not section.items:
        typer.echo(f"{section.title}: {section.none}")
        return
    typer.echo(f"{section.title}{f': {section.note}' if section.note else ''}")
    for item in section.items:
        typer.echo(f"  {'! ' if item.bad else ''}{visible(item.text, 200)}")
        for line in item.below:
            typer.echo(f"  {visible(line, 200)}")


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(summary)
