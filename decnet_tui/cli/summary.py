"""``summary``: what happened since; the same sections as the console's first view."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from decnet.hostile import visible
from decnet_tui.cli import common
from decnet_tui.model.rules import StoredRules
from decnet_tui.model.since import Section, gather, render

Since = Annotated[
    str, typer.Option("--since", help="90s, 15m, 24h, 7d or an ISO date; `all` for everything.")
]


def summary(
    since: Since = "24h",
    limit: Annotated[int, typer.Option("--limit", min=0, help="Lines of a section at most; 0 is all.")] = 20,
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """What happened since: new attackers and techniques, sessions worth reading, alerts, rules, sensors, decoys."""
    settings = common.settings_of(config, data_dir=data_dir, db=db)
    moment = None if since == "all" else common.parse_since(since)
    start = moment.timestamp() if moment else 0.0

    async def ask() -> list[Section]:
        async with common.repository(settings) as repo:
            rules = StoredRules(settings, repo, "cli", engine=common.reach(settings)[1] is not None)
            return render(await gather(repo, rules, start, settings.runtime.heartbeat_s))

    sections = common.run(ask)
    if as_json:
        typer.echo(common.to_json(_plain(sections, limit)))
        return
    label = (
        "everything that is stored"
        if not start
        else time.strftime("since %Y-%m-%d %H:%M:%SZ", time.gmtime(start))
    )
    typer.echo(label)
    for section in sections:
        _print(section, limit)


def _plain(sections: list[Section], limit: int) -> dict[str, Any]:
    return {s.name: [dict(item.data) for item in s.items[: limit or None]] for s in sections}


def _print(section: Section, limit: int) -> None:
    if not section.items:
        typer.echo(f"{section.title}: {section.none}")
        return
    typer.echo(f"{section.title}: {len(section.items)}")
    for item in section.items[: limit or None]:
        typer.echo(f"  {'! ' if item.bad else ''}{visible(item.text, 200)}")
    if limit and len(section.items) > limit:
        typer.echo(f"  and {len(section.items) - limit} more (--limit 0 shows all)")


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(summary)
