"""``report``: a span, an actor or a campaign on one page that can be sent to people."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from decnet.errors import DecnetError
from decnet_tui.cli import common
from decnet_tui.cli.lists import Campaign
from decnet_tui.cli.stats import stats_of
from decnet_tui.cli.target import written_to
from decnet_tui.model.identities import campaign_id, identity_meant
from decnet_tui.model.places import country_text, place_row
from decnet_tui.model.words import counted

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet.db.repository.conditions import Whose
    from decnet.intel.places import Places
    from decnet.report.made import Facts

Format = Literal["html", "markdown"]
_MOST = 20
_MARKDOWN = (".md", ".markdown")


def report(
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write; - is standard output.")],
    attacker: Annotated[str | None, typer.Option("--attacker", help="Address or id.")] = None,
    identity: Annotated[
        str | None,
        typer.Option("--identity", help="Id of an identity, its beginning, or one of its addresses."),
    ] = None,
    campaign: Campaign = None,
    since: common.Since = None,
    form: Annotated[
        Format | None,
        typer.Option(
            "--format", help="html or markdown; without it by the file's name (.md is markdown), else html."
        ),
    ] = None,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Writes one self-contained page for people: what happened, by whom, with what, and where that is seen."""
    from decnet.intel.places import Places  # here: other commands start sooner
    from decnet.report import html_page, markdown_page
    from decnet.report.made import report_of

    settings = common.settings_of(config, data_dir=data_dir, db=db)
    moment = common.parse_since(since)
    if sum(one is not None for one in (attacker, identity, campaign)) > 1:
        raise typer.BadParameter("a report is of one: --attacker, --identity or --campaign")
    chosen = form or ("markdown" if output.suffix.lower() in _MARKDOWN else "html")

    async def main() -> int:
        places = await asyncio.to_thread(Places.of, settings)
        async with common.repository(settings, only_read=True) as repo:
            whose, title = await _subject(repo, attacker, identity, campaign)
            facts = await _facts(repo, places, title, moment, whose, clear=settings.credentials.keep_clear)
        document = report_of(facts, datetime.now(UTC))
        with written_to(output) as write:
            write(html_page(document) if chosen == "html" else markdown_page(document))
        return len(facts.sessions)

    count = common.run(main)
    if str(output) != "-":
        typer.echo(f"{counted(count, 'session')} to {output}", err=True)


async def _subject(
    repo: BaseRepository, attacker: str | None, identity: str | None, campaign: str | None
) -> tuple[Whose, str]:
    """Of whom the report is, and its title. Raises DecnetError for somebody that is not known."""
    from decnet.db.repository.conditions import Whose

    if attacker is not None:
        rows = await repo.list_attackers(attacker=attacker, limit=1, ignored=True)
        if not rows:
            raise DecnetError(f"no attacker {attacker[:60]}: `decnet-tui attackers` lists them")
        return Whose(
            [rows[0]["attacker_uuid"]]
        ), f"Attacker {rows[0]['attacker_ip'] or rows[0]['attacker_uuid']}"
    if identity is not None:
        now, _ = await identity_meant(repo, identity)
        return Whose(identity=now), f"Identity {now[:8]}"
    if campaign is not None:
        found = await campaign_id(repo, campaign)
        named = await repo.list_campaigns(campaign=found, limit=1, ignored=True)
        return Whose(campaign=found), f"Campaign {named[0]['name'] if named else found}"
    return Whose(), "What the decoys saw"


async def _facts(
    repo: BaseRepository, places: Places, title: str, since: datetime | None, whose: Whose, *, clear: bool
) -> Facts:
    from decnet.report.made import Facts

    alone = whose.attackers is not None or whose.identity is not None or whose.campaign is not None
    sessions = await repo.list_sessions(since=since, limit=0, ignored=alone, whose=whose)
    tags = await repo.list_tags(since=since, limit=0, ignored=alone, whose=whose)
    attackers = sorted({one["attacker_uuid"] for one in sessions})
    named = await repo.campaigns_by_attacker(attackers)
    wanted = {one["campaign_uuid"] for some in named.values() for one in some}
    campaigns = [
        one for one in await repo.list_campaigns(limit=0, ignored=alone) if one["campaign_uuid"] in wanted
    ]
    owners = {one["identity_uuid"] for one in sessions if one["identity_uuid"]}
    known = await repo.identities_by_id(sorted(owners))
    joined = [one for one in known.values() if one["state"] == "joined"]
    addresses = {one["attacker_ip"] for one in sessions if one["attacker_ip"]}
    countries = {ip: text for ip in addresses if (text := country_text(place_row(places, ip)))}
    tops = await stats_of(repo, places, since, _MOST, clear=clear, whose=whose)
    about = f"since {since:%Y-%m-%d %H:%M}Z" if since is not None else "all that is stored"
    return Facts(title, about, sessions, tags, tops, countries, campaigns, joined)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(report)
