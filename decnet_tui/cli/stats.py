"""``stats``: what was seen most often: countries, networks, log-ins, clients, URLs, files, hours."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from decnet_tui.cli import common, emptiness
from decnet_tui.cli.lists import Asn, Campaign, Country, no_match
from decnet_tui.model.identities import whose_rows
from decnet_tui.model.places import Where, country_text, network_text, place_row

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet.db.repository.conditions import Whose
    from decnet.db.rows.lists import Top
    from decnet.intel.places import Places

Most = Annotated[int, typer.Option("--limit", min=0, help="Values of each kind; 0 is all.")]
KINDS = ("countries", "networks", "users", "passwords", "clients", "urls", "hosts", "hashes", "keys", "hours")
_UNKNOWN = "unknown"


def stats(
    since: common.Since = None,
    country: Country = None,
    asn: Asn = None,
    campaign: Campaign = None,
    limit: Most = 10,
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """What was seen of most attackers: countries, networks, users, passwords, clients, URLs, hosts, files, keys, hours (UTC).

    With --campaign all that its addresses did.
    """
    from decnet.intel.places import Places  # here: other commands start sooner

    settings = common.settings_of(config, data_dir=data_dir, db=db)
    moment = common.parse_since(since)
    where: Where = {"country": country and country.upper(), "asn": asn}

    async def ask() -> dict[str, Top]:
        places = await asyncio.to_thread(Places.of, settings)
        async with common.repository(settings, only_read=True) as repo:
            whose = await whose_rows(repo, places, where, campaign, False)
            return await stats_of(
                repo, places, moment, limit, clear=settings.credentials.keep_clear, whose=whose
            )

    told = common.run(ask)
    if as_json:
        typer.echo(common.to_json({"since": moment, **told}))
        return
    if not any(one["of"] for one in told.values()):
        typer.echo(no_match({"since": since, **where, "campaign": campaign}) or emptiness.NOTHING)
        return
    for name, one in told.items():
        if one["of"]:
            shown = len(one["top"])
            typer.echo(f"{name}: {shown} of {one['of']}" if shown < one["of"] else f"{name}: {shown}")
            common.print_rows(one["top"], ("attackers", "times", "value"), False, "", {"value": 120})
            typer.echo("")


async def stats_of(
    repo: BaseRepository,
    places: Places,
    since: datetime | None,
    limit: int,
    *,
    clear: bool,
    whose: Whose | None = None,
) -> dict[str, Top]:
    """All kinds, in order of :data:`KINDS`; places are worked out from the files as they are now."""
    from decnet.db.repository.conditions import ALL

    of = whose or ALL
    countries, networks = placed(await repo.sources(since, of), places, limit)
    return {
        "countries": countries,
        "networks": networks,
        "users": await repo.top_users(since, limit, of),
        "passwords": await repo.top_logins(since, limit, of, clear=clear),
        "clients": await repo.top_clients(since, limit, of),
        "urls": await repo.top_urls(since, limit, of),
        "hosts": await repo.top_things("host", since, limit, of),
        "hashes": await repo.top_things("hash", since, limit, of),
        "keys": await repo.top_things("key", since, limit, of),
        "hours": await repo.top_hours(since, limit, of),
    }


def placed(sources: Iterable[tuple[str, int]], places: Places, limit: int) -> tuple[Top, Top]:
    """Countries and networks of addresses; those that are not looked up or not known are values of their own."""
    countries: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    networks: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for address, sessions in sources:
        row = place_row(places, address)
        unknown = f"({row['unasked']} address)" if row["unasked"] else _UNKNOWN
        for counts, text in ((countries, country_text(row)), (networks, network_text(row))):
            one = counts[text or unknown]
            one[0] += 1
            one[1] += sessions
    return _top(countries, limit), _top(networks, limit)


def _top(counts: Mapping[str, list[int]], limit: int) -> Top:
    ranked = sorted(counts.items(), key=lambda item: (-item[1][0], -item[1][1], item[0]))
    some = ranked[:limit] if limit else ranked
    return {
        "of": len(counts),
        "top": [{"value": value, "attackers": who, "times": times} for value, (who, times) in some],
    }


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(stats)
