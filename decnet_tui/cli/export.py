"""``export``: tags for other tools, into one file that only its owner can read."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import aclosing, contextmanager
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from decnet_tui.cli import common
from decnet_tui.cli.lists import Asn, Campaign, Country
from decnet_tui.cli.target import Write, written_to
from decnet_tui.model.identities import identity_meant, whose_rows
from decnet_tui.model.places import Where, place_row
from decnet_tui.model.words import counted

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet.db.repository.conditions import Whose
    from decnet.db.rows.linking import ListedCampaign
    from decnet.export import Known, OneKnown
    from decnet.export.known import ExportPlace
    from decnet.export.tables import Pair
    from decnet.intel.places import Places

Format = Literal["navigator", "stix", "misp", "csv", "jsonl"]
MOST_KNOWN = 20_000
"""Attackers that stay known from page to page: what many of them amount to would fill the memory."""


def export(
    what: Annotated[Format, typer.Argument(metavar="FORMAT", help="navigator, stix, misp, csv or jsonl.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write; - is standard output.")],
    attacker: Annotated[str | None, typer.Option("--attacker", help="Address or id.")] = None,
    identity: Annotated[
        str | None,
        typer.Option("--identity", help="Id of an identity, its beginning, or one of its addresses."),
    ] = None,
    campaign: Campaign = None,
    country: Country = None,
    asn: Asn = None,
    since: common.Since = None,
    ignored: Annotated[bool, typer.Option("--ignored", help="Ignored sources too.")] = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Writes tags as a Navigator layer, a STIX bundle, a MISP event, CSV or JSON lines, with whose they are and where from."""
    from decnet.intel.places import Places  # here: other commands start sooner

    settings = common.settings_of(config, data_dir=data_dir, db=db)
    moment = common.parse_since(since)

    where: Where = {"country": country and country.upper(), "asn": asn}
    asked = {"attacker": attacker, "identity": identity, "campaign": campaign, **where, "since": since}

    async def main() -> int:
        places = await asyncio.to_thread(Places.of, settings)
        async with common.repository(settings) as repo:
            whose = await whose_rows(repo, places, where, campaign, ignored)
            if identity is not None:
                whose = whose._replace(identity=(await identity_meant(repo, identity))[0])
            tags = Asked(moment, attacker, ignored, whose)
            with written_to(output) as write:
                if what == "navigator":
                    return await _layer(repo, places, tags, _about(asked), write)
                if what == "csv" or what == "jsonl":  # noqa: PLR1714  a type checker reads it so
                    with _uncollected():
                        return await _table(repo, places, tags, what, write)
                return await _whole(repo, places, tags, what, _about(asked), write)

    count = common.run(main)
    if str(output) != "-":
        typer.echo(f"{counted(count, 'tag')} to {output}", err=True)


class Asked(NamedTuple):
    """Which tags."""

    since: datetime | None
    attacker: str | None
    ignored: bool
    whose: Whose


async def _layer(repo: BaseRepository, places: Places, asked: Asked, about: str, write: Write) -> int:
    """A layer of counts: the tags themselves would take a hundred times as long."""
    from decnet.export import navigator_layer, seen_counted

    since, attacker, ignored, whose = asked
    counted = await repo.tag_counts(since, attacker, ignored, whose=whose)
    addresses = await repo.addresses_of_attackers(
        {one.attacker_uuid for one in counted.ones if one.attacker_uuid}
    )
    joined = {one.who for one in counted.ones if one.who != one.attacker_uuid}
    known = await _known(repo, places, addresses, joined)
    known = known._replace(campaigns=await _campaigns(repo, known, ignored))
    layer = navigator_layer(seen_counted(counted, addresses), description=about, beside=known)
    write(json.dumps(layer, indent=1) + "\n")
    return sum(counted.tags.values())


async def _whole(
    repo: BaseRepository,
    places: Places,
    asked: Asked,
    what: Literal["stix", "misp"],
    about: str,
    write: Write,
) -> int:
    """A bundle, or an event, stands in memory as a whole: what is in it depends on all tags."""
    from decnet.export import misp_event, stix_bundle

    since, attacker, ignored, whose = asked
    tags = await repo.list_tags(since=since, attacker=attacker, limit=0, ignored=ignored, whose=whose)
    addresses = {tag["attacker_uuid"]: tag["attacker_ip"] for tag in tags if tag["attacker_uuid"]}
    known = await _known(
        repo, places, addresses, {tag["identity_uuid"] for tag in tags if tag["identity_uuid"]}
    )
    hosts, hashes = [
        await repo.things_by_attacker(sorted(addresses), kind, ignored) for kind in ("host", "hash")
    ]
    known = known._replace(campaigns=await _campaigns(repo, known, ignored), hosts=hosts, hashes=hashes)
    if what == "stix":
        write(stix_bundle(tags, known) + "\n")
    else:
        write(
            json.dumps(
                misp_event(tags, known, info=f"Attackers of decoys: {about}"), ensure_ascii=True, indent=1
            )
            + "\n"
        )
    return len(tags)


async def _table(
    repo: BaseRepository, places: Places, asked: Asked, what: Literal["csv", "jsonl"], write: Write
) -> int:
    """Tags a page at a time; what is known of an attacker is looked up with the first page that names it."""
    from decnet.attack.catalogue import load_catalogue
    from decnet.db.rows.lists import TAG_COLUMNS
    from decnet.export import csv_cells, csv_head, csv_page, json_page

    name = load_catalogue().name
    named = itemgetter(TAG_COLUMNS.index("attacker_uuid"), TAG_COLUMNS.index("identity_uuid"))
    since, attacker, ignored, whose = asked
    beside: dict[Pair, OneKnown] = {}
    cells: dict[Pair, tuple[str, str]] = {}
    count = 0
    if what == "csv":
        write(csv_head())
    async with aclosing(repo.tag_pages(since, attacker, ignored, whose=whose)) as pages:
        async for page in pages:
            if len(beside) > MOST_KNOWN:
                beside.clear()
                cells.clear()
            new = await _beside(repo, places, set(map(named, page)) - beside.keys())
            beside |= new
            if what == "csv":
                cells |= {pair: csv_cells(pair[0], one) for pair, one in new.items()}
                write(csv_page(page, cells, name))
            else:
                write("".join(json_page(page, beside, name)))
            count += len(page)
    return count


async def _beside(repo: BaseRepository, places: Places, pairs: Collection[Pair]) -> dict[Pair, OneKnown]:
    """What is known of attackers with the identities that their tags name."""
    from decnet.export import one_known

    attackers = sorted({attacker for attacker, _ in pairs if attacker})
    addresses = await repo.addresses_of_attackers(attackers)
    owners = await repo.identities_now(attackers)
    alone = await repo.canonical_identities(
        {identity for attacker, identity in pairs if identity and not attacker}
    )
    now = {
        (attacker, identity): owners.get(attacker or "")
        or (identity if attacker else alone.get(identity or ""))
        for attacker, identity in pairs
    }
    known = await _known(repo, places, addresses, {identity for identity in now.values() if identity})
    return {pair: one_known(pair[0], addresses.get(pair[0] or ""), now[pair], known) for pair in pairs}


async def _known(
    repo: BaseRepository, places: Places, addresses: Mapping[str, str | None], identities: Collection[str]
) -> Known:
    """Where attackers (with their addresses) are and of which campaigns, and some identities."""
    from decnet.export import Known

    named = await repo.campaigns_by_attacker(sorted(addresses))
    return Known(
        {ip: _place(places, ip) for ip in set(addresses.values()) if ip},
        await repo.identities_by_id(sorted(identities)),
        {},
        {uuid: [one["campaign_uuid"] for one in some] for uuid, some in named.items()},
    )


async def _campaigns(repo: BaseRepository, known: Known, ignored: bool) -> dict[str, ListedCampaign]:
    """The campaigns of the attackers that are in any."""
    from decnet.db.repository.conditions import Whose

    if not known.by_attacker:
        return {}
    listed = await repo.list_campaigns(limit=0, ignored=ignored, whose=Whose(sorted(known.by_attacker)))
    return {one["campaign_uuid"]: one for one in listed}


def _place(places: Places, ip: str) -> ExportPlace:
    row = place_row(places, ip)
    return {
        "country": row["country"],
        "allocated": row["allocated"],
        "asn": row["asn"],
        "as_name": row["as_name"],
    }


def _about(asked: Mapping[str, object]) -> str:
    parts = [f"{name} {value}" for name, value in asked.items() if value is not None]
    return ", ".join(parts if asked["since"] else [*parts, "all that is stored"])


@contextmanager
def _uncollected() -> Iterator[None]:
    """Rows of pages are tuples by the million that make no ring: to look for one takes a fifth of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(export)
